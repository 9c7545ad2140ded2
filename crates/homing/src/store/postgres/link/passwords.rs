//! Where a password comes from when the URL has none: `PGPASSWORD`, then libpq's password file.
//!
//! Keeping it out of the URL keeps it out of the command line, which other users of a machine can read.

use std::path::{Path, PathBuf};

use tokio_postgres::Config;
use tokio_postgres::config::Host;

/// The password for the first host of a configuration.
pub(in crate::store::postgres) fn find(config: &Config, file: Option<&str>) -> Option<String> {
    if let Some(password) = variable("PGPASSWORD") {
        return Some(password);
    }
    let path = file
        .map(PathBuf::from)
        .or_else(|| variable("PGPASSFILE").map(PathBuf::from))
        .or_else(|| variable("HOME").map(|home| Path::new(&home).join(".pgpass")))?;
    let text = read(&path)?;
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(name)) => name.clone(),
        // So does libpq.
        _ => "localhost".to_owned(),
    };
    let port = config.get_ports().first().copied().unwrap_or(5432).to_string();
    let user = config.get_user()?;
    let database = config.get_dbname().unwrap_or(user);
    lookup(&text, [&host, &port, database, user])
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The file, unless others may read it.
fn read(path: &Path) -> Option<String> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(path).ok()?.permissions().mode();
        if mode & 0o077 != 0 {
            let path = path.display();
            tracing::warn!(%path, "the password file is not used: others may read it, `chmod 600` it");
            return None;
        }
    }
    std::fs::read_to_string(path).ok()
}

/// The password of the first line that fits: `host:port:database:user:password`, `*` fits all.
fn lookup(text: &str, wanted: [&str; 4]) -> Option<String> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(fields).find_map(|mut fields| {
        let fits = fields.len() == 5
            && fields.iter().zip(wanted).all(|(field, wanted)| field == "*" || field == wanted);
        if fits { fields.pop() } else { None }
    })
}

/// The fields of a line; `\` takes the next character as it is, and the password goes to the end.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        let literal = match character {
            ':' if fields.len() < 5 => {
                fields.push(String::new());
                continue;
            }
            '\\' => characters.next().unwrap_or('\\'),
            other => other,
        };
        if let Some(field) = fields.last_mut() {
            field.push(literal);
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_file_is_read_as_libpq_reads_it() {
        let text = "# a:1:b:c:no\nother:*:*:*:no\ndb:5432:jobs:*:a\\:b:c\\\\\n*:*:*:anna:last";
        let of = |host, user| lookup(text, [host, "5432", "jobs", user]);
        assert_eq!(of("db", "anna").as_deref(), Some("a:b:c\\"));
        assert_eq!(of("elsewhere", "anna").as_deref(), Some("last"));
        assert_eq!(of("elsewhere", "otto"), None);
    }
}
