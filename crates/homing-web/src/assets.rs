//! Style sheet, scripts and icon: readable sources, part of the program. They are served under a hash of all of
//! them, for ever.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use crate::guard::keys::hex;
use crate::problem::Refusal;

const JS: &str = "text/javascript; charset=utf-8";

/// Each by its name, with its type.
const ALL: [(&str, &str, &str); 10] = [
    ("style.css", "text/css; charset=utf-8", include_str!("../assets/style.css")),
    ("theme.js", JS, include_str!("../assets/theme.js")),
    ("login.js", JS, include_str!("../assets/login.js")),
    ("live.js", JS, include_str!("../assets/live.js")),
    ("log.js", JS, include_str!("../assets/log.js")),
    ("redraw.js", JS, include_str!("../assets/redraw.js")),
    ("stream.js", JS, include_str!("../assets/stream.js")),
    ("text.js", JS, include_str!("../assets/text.js")),
    ("tree.js", JS, include_str!("../assets/tree.js")),
    ("icon.svg", "image/svg+xml", include_str!("../assets/icon.svg")),
];

/// A hash of all of them, so that modules find one another by relative names.
static HASH: LazyLock<String> = LazyLock::new(|| {
    let mut hash = Sha256::new();
    for (name, _, text) in ALL {
        hash.update(name.as_bytes());
        hash.update(text.as_bytes());
    }
    hex(&hash.finalize()[..8])
});

/// The path of an asset.
pub(crate) fn path(name: &str) -> String {
    format!("/assets/{}/{name}", *HASH)
}

/// An asset. One of another release is answered too: the page that asks for it is still open.
pub(crate) async fn serve(Path((hash, name)): Path<(String, String)>) -> Result<Response, Refusal> {
    let found = ALL.iter().find(|(known, ..)| *known == name).ok_or_else(Refusal::nowhere)?;
    let age = if hash == *HASH { "public, max-age=31536000, immutable" } else { "no-store" };
    Ok(([("content-type", found.1), ("cache-control", age)], found.2).into_response())
}
