//! The second pure core: what a body remembers. No clock, no I/O.

/// What a task that stands still because of drift says.
pub(crate) fn drift_text(
    kind: &str,
    arguments: &str,
    new_kind: &str,
    new_arguments: &str,
) -> String {
    let call = |kind: &str, arguments: &str| {
        let short = &arguments[..arguments.floor_char_boundary(200)];
        let more = if short.len() < arguments.len() { "…" } else { "" };
        format!("{kind}({short}{more})")
    };
    format!("expected {}, got {}", call(kind, arguments), call(new_kind, new_arguments))
}
