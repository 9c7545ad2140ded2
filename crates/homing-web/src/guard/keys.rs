//! What is signed: sessions, forms and previews. Nothing of it is stored, so that any process that knows the same
//! token takes what another has signed.

use std::fmt::Write;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::options::{Grant, Options};

/// How long a login lasts.
pub(crate) const SESSION: Duration = Duration::from_hours(12);
/// How long a preview is good for.
pub(crate) const GOOD: Duration = Duration::from_mins(5);

type Signer = Hmac<Sha256>;

/// The keys of a site.
pub(crate) struct Keys {
    /// Signs forms and previews.
    own: Signer,
    /// One for each token: a session is good for as long as its token is known.
    tokens: Vec<(Signer, Grant)>,
}

impl Keys {
    /// The keys that follow from the tokens; without any, of chance.
    pub(crate) fn new(options: &Options) -> Self {
        let mut chance = [0; 32];
        let own = match options.tokens.first() {
            Some((token, _)) => signer(token.as_bytes()),
            // Without chance there is no secret: then nothing that is signed is ever taken.
            None => match getrandom::fill(&mut chance) {
                Ok(()) => signer(&chance),
                Err(_) => signer(&[]),
            },
        };
        let key = |(token, grant): &(String, Grant)| (signer(token.as_bytes()), grant.clone());
        Self { own, tokens: options.tokens.iter().map(key).collect() }
    }

    /// What a token grants.
    pub(crate) fn token(&self, options: &Options, token: &str) -> Option<&Grant> {
        // Compared by their signatures, which take the same time however much of a guess is right.
        let told = sign(&self.own, "token", token);
        let mut known = options.tokens.iter().zip(&self.tokens);
        let found = known.find(|((token, _), _)| verify(&self.own, "token", token, &told));
        found.map(|(_, (_, grant))| grant)
    }

    /// The cookie of a session that ends at an instant, in seconds.
    pub(crate) fn session(&self, options: &Options, token: &str, until: u64) -> Option<String> {
        let at = options.tokens.iter().position(|(known, _)| known == token)?;
        let (signer, _) = self.tokens.get(at)?;
        Some(format!("{until}.{}", sign(signer, "session", &until.to_string())))
    }

    /// What a session grants at an instant, in seconds.
    pub(crate) fn of_session(&self, cookie: &str, now: u64) -> Option<&Grant> {
        let (until, signature) = cookie.split_once('.')?;
        if until.parse::<u64>().ok()? <= now {
            return None;
        }
        let mut tokens = self.tokens.iter();
        let found = tokens.find(|(signer, _)| verify(signer, "session", until, signature));
        found.map(|(_, grant)| grant)
    }

    /// What a form carries that a page has made for somebody.
    pub(crate) fn form(&self, who: &str) -> String {
        sign(&self.own, "form", who)
    }

    /// The token of a preview: what would be done, and until when it is good, in seconds.
    pub(crate) fn preview(&self, what: &str, until: u64) -> String {
        format!("{until}.{}", sign(&self.own, "preview", &format!("{until} {what}")))
    }

    /// Whether a token is that of a preview of this, and still good.
    pub(crate) fn is_preview(&self, token: &str, what: &str, now: u64) -> bool {
        let Some((until, signature)) = token.split_once('.') else { return false };
        until.parse::<u64>().is_ok_and(|until| until > now)
            && verify(&self.own, "preview", &format!("{until} {what}"), signature)
    }

    /// A name for the site's cookie: sites of one host have different ones.
    pub(crate) fn cookie(&self) -> String {
        let id = sign(&self.own, "cookie", "");
        format!("homing-{}", id.get(..8).unwrap_or_default())
    }

    /// Whether two secrets are the same.
    pub(crate) fn same(&self, one: &str, other: &str) -> bool {
        verify(&self.own, "same", one, &sign(&self.own, "same", other))
    }
}

fn signer(key: &[u8]) -> Signer {
    // An HMAC takes a key of any length.
    Signer::new_from_slice(key)
        .unwrap_or_else(|_| Signer::new(&hmac::digest::Key::<Signer>::default()))
}

fn feed(signer: &Signer, purpose: &str, text: &str) -> Signer {
    let mut signer = signer.clone();
    for part in [purpose, text] {
        signer.update(&(part.len() as u64).to_be_bytes());
        signer.update(part.as_bytes());
    }
    signer
}

fn sign(signer: &Signer, purpose: &str, text: &str) -> String {
    hex(&feed(signer, purpose, text).finalize().into_bytes())
}

fn verify(signer: &Signer, purpose: &str, text: &str, signature: &str) -> bool {
    let bytes: Option<Vec<u8>> = (0..signature.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(signature.get(at..at + 2)?, 16).ok())
        .collect();
    bytes.is_some_and(|bytes| feed(signer, purpose, text).verify_slice(&bytes).is_ok())
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    fn keys() -> (Options, Keys) {
        let options = Options::new().token("ada", Grant::operator(), TOKEN).unwrap();
        let options = options.token("bob", Grant::viewer(), "another-token-of-bobs").unwrap();
        let keys = Keys::new(&options);
        (options, keys)
    }

    #[test]
    fn tokens_are_those_that_were_told() {
        let (options, keys) = keys();
        assert_eq!(keys.token(&options, TOKEN).unwrap().user, "ada");
        assert_eq!(keys.token(&options, "another-token-of-bobs").unwrap().user, "bob");
        for wrong in ["", "0123456789abcdef", "0123456789abcdef0123456789abcdee"] {
            assert_eq!(keys.token(&options, wrong), None);
        }
    }

    #[test]
    fn sessions_end_and_cannot_be_made() {
        let (options, keys) = keys();
        let cookie = keys.session(&options, TOKEN, 100).unwrap();
        assert_eq!(keys.of_session(&cookie, 99).unwrap().user, "ada");
        assert_eq!(keys.of_session(&cookie, 100), None);
        let signature = cookie.split_once('.').unwrap().1;
        for wrong in [
            format!("200.{signature}"),
            "100.".to_owned(),
            "100".to_owned(),
            format!("100.{}", &signature[2..]),
            format!("+100.{signature}"),
            String::new(),
        ] {
            assert_eq!(keys.of_session(&wrong, 1), None, "{wrong}");
        }
        // One whose token is no longer known.
        let others = Options::new().token("x", Grant::admin(), "a-token-of-somebody").unwrap();
        assert_eq!(Keys::new(&others).of_session(&cookie, 1), None);
    }

    #[test]
    fn previews_are_of_one_thing_for_a_while() {
        let (_, keys) = keys();
        let token = keys.preview("cancel x", 100);
        assert!(keys.is_preview(&token, "cancel x", 99));
        assert!(!keys.is_preview(&token, "cancel x", 100));
        assert!(!keys.is_preview(&token, "cancel y", 99));
        assert!(!keys.is_preview(&token.replace("100.", "900."), "cancel x", 99));
        assert_ne!(keys.form("a"), keys.form("b"));
        assert!(keys.same("a", "a") && !keys.same("a", "b"));
    }
}
