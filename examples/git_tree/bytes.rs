//! Names and paths, which are bytes to the operating system and to git, as text in JSON.
//!
//! What is no UTF-8 is written as `%` and two digits, and so is `%` itself. The text says exactly which
//! bytes were meant and can still be read.

use std::ffi::OsStr;
use std::fmt::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The bytes of a name or a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl Bytes {
    pub(crate) fn of(path: impl AsRef<OsStr>) -> Self {
        Self(path.as_ref().as_bytes().to_vec())
    }

    pub(crate) fn path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// The path of a name in this directory.
    pub(crate) fn join(&self, name: &Self) -> Self {
        let path: PathBuf = self.path().join(name.path());
        Self::of(path)
    }

    /// The last part of the path; empty for the root of the file system.
    pub(crate) fn name(&self) -> Self {
        Self::of(self.path().file_name().unwrap_or_default())
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for char in chunk.valid().chars() {
                match char {
                    '%' => f.write_str("%25")?,
                    _ => f.write_char(char)?,
                }
            }
            chunk.invalid().iter().try_for_each(|byte| write!(f, "%{byte:02X}"))?;
        }
        Ok(())
    }
}

impl From<Bytes> for String {
    fn from(bytes: Bytes) -> Self {
        bytes.to_string()
    }
}

impl TryFrom<String> for Bytes {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let broken = "`%` without two hexadecimal digits";
        let mut parts = text.split('%');
        let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
        for part in parts {
            let (code, rest) = part.split_at_checked(2).ok_or(broken)?;
            bytes.push(u8::from_str_radix(code, 16).map_err(|_| broken)?);
            bytes.extend_from_slice(rest.as_bytes());
        }
        Ok(Self(bytes))
    }
}
