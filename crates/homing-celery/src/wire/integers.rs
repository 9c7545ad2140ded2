//! Integers beyond 64 bits: Python has them, and here they would become floats without a word.

/// The first integer of a JSON text that has more than 64 bits; of a text that is no JSON whatever looks like one.
pub(crate) fn beyond(text: &[u8]) -> Option<String> {
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => at = after_string(text, at + 1),
            b'-' | b'0'..=b'9' => {
                let rest = &text[at..];
                let digits = rest[1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
                let (number, next) = (&rest[..=digits], rest.get(digits + 1));
                if matches!(next, Some(b'.' | b'e' | b'E')) {
                    at += 1 + digits + fraction(&rest[digits + 1..]);
                    continue;
                }
                // Most are short.
                if number.len() > 18 && !fits(number) {
                    return Some(String::from_utf8_lossy(number).into_owned());
                }
                at += number.len();
            }
            _ => at += 1,
        }
    }
    None
}

/// Where a string ends that has begun.
fn after_string(text: &[u8], mut at: usize) -> usize {
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    at
}

/// The length of what makes a number a float.
fn fraction(text: &[u8]) -> usize {
    let of_float = |byte: &&u8| byte.is_ascii_digit() || b".eE+-".contains(byte);
    text.iter().take_while(of_float).count()
}

fn fits(number: &[u8]) -> bool {
    let text = std::str::from_utf8(number).unwrap_or_default();
    text.parse::<i64>().is_ok() || text.parse::<u64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_integers_beyond_64_bits_are_found() {
        for fine in [
            "",
            "[1, -2, 0]",
            "18446744073709551615",
            "-9223372036854775808",
            "-",
            "[-]",
            "[1e400, 123456789012345678901234.5, 123456789012345678901234E2]",
            r#"{"184467440737095516160": "99999999999999999999", "\"99999999999999999999": "a\\"}"#,
            r#""99999999999999999999"#,
            r#""\"#,
        ] {
            assert_eq!(beyond(fine.as_bytes()), None, "{fine}");
        }
        for (text, found) in [
            ("18446744073709551616", "18446744073709551616"),
            ("[[1.5, -9223372036854775809]]", "-9223372036854775809"),
            (r#"{"a\\": 123456789012345678901234567890}"#, "123456789012345678901234567890"),
        ] {
            assert_eq!(beyond(text.as_bytes()).as_deref(), Some(found), "{text}");
        }
    }
}
