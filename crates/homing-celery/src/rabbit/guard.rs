//! What stands between the server's bytes and the library that reads them.
//!
//! RabbitMQ hands a message's properties on as their sender wrote them, and does not look at all of them. The library
//! that reads them, lapin, calls itself for each level of a nested header, without a limit: a few hundred levels overflow
//! its thread's stack and end the process. And properties that it cannot read, such as names that are no UTF-8, end the
//! connection, after which the server delivers the same message again, for ever. So each content header is looked at
//! here first, without recursion. What is sound passes as it is; of what is not, the rest passes, with a mark that says
//! what is wrong ([`MARK`]), so that its sender can be told.
//!
//! This room knows bytes only. It must take as sound nothing that lapin does not read, and let nothing through that is
//! nested deeper than [`DEEP`].

use std::fmt::Write as _;
use std::io;

/// How deep a header may be nested. lapin's stack of 2 MiB bears 250 levels in an unoptimized build.
pub(super) const DEEP: usize = 100;
/// The header by which a message is marked that was not let through as it was.
pub(super) const MARK: &str = "homing-refused";

/// The longest frame that is held until it is whole. RabbitMQ's own limit, `frame_max`, is 128 KiB unless somebody has
/// raised it.
const LONGEST: usize = 16 * 1024 * 1024;
/// Type, channel and length of a frame.
const HEAD: usize = 7;
/// The type of a frame that holds a content header.
const HEADER: u8 = 2;
/// Types of frames: method, content header, content body, heartbeat.
const TYPES: [u8; 4] = [1, HEADER, 3, 8];
/// Class, weight and length of a message, before its properties.
const CONTENT: usize = 12;

/// A stream of frames on its way through.
#[derive(Debug, Default)]
pub(super) struct Guard {
    /// The begin of a frame that is looked at once it is whole.
    held: Vec<u8>,
    /// How many bytes pass as they are.
    passing: usize,
    /// Whether this is no stream of frames: then all of it passes, and lapin says so.
    foreign: bool,
}

impl Guard {
    /// Takes bytes of the server's, and appends to `out` what may pass.
    ///
    /// # Errors
    /// A content header that is too long to be held.
    pub(super) fn pass(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.foreign {
                out.extend_from_slice(bytes);
                return Ok(());
            }
            if self.passing > 0 {
                let (passes, rest) = bytes.split_at(self.passing.min(bytes.len()));
                out.extend_from_slice(passes);
                self.passing -= passes.len();
                bytes = rest;
                continue;
            }
            bytes = self.hold(bytes, HEAD);
            if self.held.len() < HEAD {
                return Ok(());
            }
            let (kind, length) = (self.held[0], long(&self.held[3..]).unwrap_or_default());
            if kind != HEADER {
                // With the byte at its end.
                self.passing = length + 1;
                self.foreign = !TYPES.contains(&kind);
                out.append(&mut self.held);
                continue;
            }
            if length > LONGEST {
                let reason = format!("a message's headers have {length} bytes");
                return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
            }
            let whole = HEAD + length + 1;
            bytes = self.hold(bytes, whole);
            if self.held.len() == whole {
                self.release(out);
            }
        }
        Ok(())
    }

    /// Holds so many bytes in all, and brings those that are left.
    fn hold<'b>(&mut self, bytes: &'b [u8], whole: usize) -> &'b [u8] {
        let wanted = whole.saturating_sub(self.held.len()).min(bytes.len());
        let (taken, rest) = bytes.split_at(wanted);
        self.held.extend_from_slice(taken);
        rest
    }

    /// Lets a whole content header go, as it is or mended.
    fn release(&mut self, out: &mut Vec<u8>) {
        let (frame, end) = self.held.split_at(self.held.len() - 1);
        match mended(&frame[HEAD..]) {
            None => out.append(&mut self.held),
            Some(payload) => {
                out.extend_from_slice(&frame[..3]);
                out.extend_from_slice(&(payload.len() as u32).to_be_bytes());
                out.extend_from_slice(&payload);
                out.extend_from_slice(end);
                self.held.clear();
            }
        }
    }
}

/// What is wrong with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    Deep,
    Malformed,
}

/// A content header in which everything can be read; `None` if it is so already.
fn mended(payload: &[u8]) -> Option<Vec<u8>> {
    let (content, rest) = payload.split_at_checked(CONTENT)?;
    let mut properties = Properties::default();
    let is_whole = properties.read(rest).is_some();
    if is_whole && properties.wrong.is_empty() {
        return None;
    }
    if !is_whole {
        properties.complain("its properties end before their end");
    }
    let mut out = content.to_vec();
    properties.write(&mut out);
    Some(out)
}

/// The flag of the property `headers`; those before it are `content_type` and `content_encoding`.
const HEADERS: u16 = 1 << 13;
/// The properties in their order, by their flags: how many bytes each has, 0 for a text with its length before it.
const FIELDS: [(u16, usize); 14] = [
    (1 << 15, 0),
    (1 << 14, 0),
    (HEADERS, 0),
    (1 << 12, 1),
    (1 << 11, 1),
    (1 << 10, 0),
    (1 << 9, 0),
    (1 << 8, 0),
    (1 << 7, 0),
    (1 << 6, 8),
    (1 << 5, 0),
    (1 << 4, 0),
    (1 << 3, 0),
    (1 << 2, 0),
];

/// A message's properties, as far as they are sound.
#[derive(Debug, Default)]
struct Properties {
    /// Each with its flag, as it stands in the frame; of the headers the entries without their length.
    fields: Vec<(u16, Vec<u8>)>,
    headers: Vec<u8>,
    wrong: String,
}

impl Properties {
    fn complain(&mut self, of: &str) {
        if self.wrong.len() < 500 {
            let join = if self.wrong.is_empty() { "" } else { "; " };
            // To a text nothing fails.
            let _ = write!(self.wrong, "{join}{of}");
        }
    }

    /// Reads properties; `None` if they are not whole, or something follows them.
    fn read(&mut self, bytes: &[u8]) -> Option<()> {
        let (flags, mut rest) = bytes.split_at_checked(2)?;
        let flags = u16::from_be_bytes([flags[0], flags[1]]);
        for (flag, length) in FIELDS {
            if flags & flag == 0 {
                continue;
            }
            let field;
            if flag == HEADERS {
                let length = long(rest)?;
                (field, rest) = rest[4..].split_at_checked(length)?;
                self.table(field);
                continue;
            }
            let length = if length == 0 { 1 + usize::from(*rest.first()?) } else { length };
            (field, rest) = rest.split_at_checked(length)?;
            if FIELDS.contains(&(flag, 0)) && str::from_utf8(&field[1..]).is_err() {
                self.complain("one of its properties is no UTF-8");
                continue;
            }
            self.fields.push((flag, field.to_vec()));
        }
        // The lowest two announce more flags, of which there are none.
        (rest.is_empty() && flags.trailing_zeros() >= 2).then_some(())
    }

    /// Reads headers: of each that is not sound the name stays, and why.
    fn table(&mut self, mut rest: &[u8]) {
        while !rest.is_empty() {
            let Some((name, value, after)) = entry(rest) else {
                self.complain("its headers are no table");
                return;
            };
            rest = after;
            let Ok(shown) = str::from_utf8(name) else {
                self.complain("the name of a header is no UTF-8");
                continue;
            };
            self.headers.push(name.len() as u8);
            self.headers.extend_from_slice(name);
            match sound(value) {
                Ok(()) => self.headers.extend_from_slice(value),
                Err(wrong) => {
                    self.headers.push(b'V');
                    let shown: String =
                        shown.chars().filter(|c| !c.is_control()).take(80).collect();
                    self.complain(&match wrong {
                        Wrong::Deep => format!("`{shown}` is nested deeper than {DEEP} levels"),
                        Wrong::Malformed => format!("`{shown}` cannot be read"),
                    });
                }
            }
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut headers = self.headers.clone();
        headers.push(MARK.len() as u8);
        headers.extend_from_slice(MARK.as_bytes());
        headers.push(b'S');
        headers.extend_from_slice(&(self.wrong.len() as u32).to_be_bytes());
        headers.extend_from_slice(self.wrong.as_bytes());
        let flags = self.fields.iter().fold(HEADERS, |flags, (flag, _)| flags | flag);
        out.extend_from_slice(&flags.to_be_bytes());
        let before = self.fields.iter().take_while(|(flag, _)| *flag > HEADERS).count();
        let (before, after) = self.fields.split_at(before);
        for (_, field) in before {
            out.extend_from_slice(field);
        }
        out.extend_from_slice(&(headers.len() as u32).to_be_bytes());
        out.extend_from_slice(&headers);
        for (_, field) in after {
            out.extend_from_slice(field);
        }
    }
}

fn long(bytes: &[u8]) -> Option<usize> {
    let bytes: [u8; 4] = bytes.get(..4)?.try_into().ok()?;
    Some(u32::from_be_bytes(bytes) as usize)
}

/// An entry of a table: its name, its value with its type, and what follows.
fn entry(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*length))?;
    let (value, rest) = rest.split_at_checked(span(rest)?)?;
    Some((name, value, rest))
}

/// How many bytes a value has with its type, by lapin's own table.
fn span(bytes: &[u8]) -> Option<usize> {
    let (kind, rest) = bytes.split_first()?;
    Some(match kind {
        b'V' => 1,
        b't' | b'b' | b'B' => 2,
        b's' | b'U' | b'u' => 3,
        b'I' | b'i' | b'f' => 5,
        b'D' => 6,
        b'L' | b'l' | b'd' | b'T' => 9,
        b'S' | b'x' | b'A' | b'F' => 5 + long(rest)?,
        _ => return None,
    })
}

/// Whether a value, of which the length is known, is one all the way down, and not too deep.
fn sound(value: &[u8]) -> Result<(), Wrong> {
    // What is open: whether its parts have names, and those that were not looked at.
    let mut open = vec![(false, value)];
    while let Some((named, rest)) = open.last_mut() {
        if rest.is_empty() {
            open.pop();
            continue;
        }
        let (part, after) = if *named {
            let (name, part, after) = entry(rest).ok_or(Wrong::Malformed)?;
            str::from_utf8(name).map_err(|_| Wrong::Malformed)?;
            (part, after)
        } else {
            let length = span(rest).ok_or(Wrong::Malformed)?;
            rest.split_at_checked(length).ok_or(Wrong::Malformed)?
        };
        *rest = after;
        if let [kind @ (b'A' | b'F'), _, _, _, _, parts @ ..] = part {
            if open.len() >= DEEP {
                return Err(Wrong::Deep);
            }
            open.push((*kind == b'F', parts));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A value in so many arrays, or tables with names of no length.
    fn nested(kind: u8, levels: usize) -> Vec<u8> {
        // Of each level its type, its length and, in a table, the name of the next.
        let name = usize::from(kind == b'F');
        let mut value = Vec::new();
        for level in (0..levels).rev() {
            value.push(kind);
            let length = level * (5 + name) + name + 1;
            value.extend_from_slice(&(length as u32).to_be_bytes());
            if name == 1 {
                value.push(0);
            }
        }
        value.push(b'V');
        value
    }

    fn table(entries: &[(&[u8], &[u8])]) -> Vec<u8> {
        let mut table = Vec::new();
        for (name, value) in entries {
            table.push(name.len() as u8);
            table.extend_from_slice(name);
            table.extend_from_slice(value);
        }
        let mut whole = (table.len() as u32).to_be_bytes().to_vec();
        whole.append(&mut table);
        whole
    }

    fn text(text: &[u8]) -> Vec<u8> {
        [b"S".as_slice(), &(text.len() as u32).to_be_bytes(), text].concat()
    }

    /// A frame with a content header: flags, then the properties as they stand.
    fn frame(flags: u16, properties: &[&[u8]]) -> Vec<u8> {
        let content = [0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
        let payload = [content.as_slice(), &flags.to_be_bytes(), &properties.concat()].concat();
        let head = [&[HEADER, 0, 1], (payload.len() as u32).to_be_bytes().as_slice()].concat();
        [head, payload, vec![0xce]].concat()
    }

    fn passed(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        Guard::default().pass(bytes, &mut out).unwrap();
        // However it comes in pieces, it is the same.
        for size in [1, 3, 7, 64] {
            let (mut guard, mut pieces) = (Guard::default(), Vec::new());
            for piece in bytes.chunks(size) {
                guard.pass(piece, &mut pieces).unwrap();
            }
            assert!(pieces == out, "in pieces of {size}");
        }
        out
    }

    const TYPE: u16 = 1 << 15;
    const REPLY: u16 = 1 << 9;

    /// What lapin reads of a frame that has passed.
    fn read(bytes: &[u8]) -> lapin::BasicProperties {
        let rest = &bytes[HEAD + CONTENT..bytes.len() - 1];
        let (left, properties) = lapin::protocol::basic::parse_properties(rest).unwrap();
        assert!(left.is_empty());
        properties
    }

    fn mark(properties: &lapin::BasicProperties) -> String {
        let headers = super::super::values::headers(properties);
        headers[MARK].as_str().unwrap_or_default().to_owned()
    }

    #[test]
    fn what_is_sound_passes_to_the_byte() {
        let all: Vec<Vec<u8>> = [
            (b'V', 0),
            (b't', 1),
            (b'b', 1),
            (b'B', 1),
            (b's', 2),
            (b'U', 2),
            (b'u', 2),
            (b'I', 4),
            (b'i', 4),
            (b'f', 4),
            (b'D', 5),
            (b'L', 8),
            (b'l', 8),
            (b'd', 8),
            (b'T', 8),
        ]
        .map(|(kind, length)| [vec![kind], vec![0; length]].concat())
        .to_vec();
        let deepest = nested(b'A', DEEP - 1);
        let mut entries: Vec<(&[u8], &[u8])> =
            all.iter().map(|value| (b"n".as_slice(), value.as_slice())).collect();
        let (word, tree) = (text("ü".as_bytes()), nested(b'F', DEEP - 1));
        entries.extend([(b"deep".as_slice(), deepest.as_slice()), (b"", &word), (b"tree", &tree)]);
        let one = frame(TYPE | HEADERS | REPLY, &[b"\x01j", &table(&entries), b"\x06client"]);
        let body = [&[3_u8, 0, 1, 0, 0, 0, 2], b"{}".as_slice(), &[0xce]].concat();
        let heartbeat = [8, 0, 0, 0, 0, 0, 0, 0xce];
        let stream = [&one, &body, heartbeat.as_slice(), &one, &frame(0, &[])].concat();
        assert!(passed(&stream) == stream);
        assert_eq!(mark(&read(&passed(&one))), "");
        let foreign = b"AMQP\0\0\x09\x01\x02\x00\x00";
        assert_eq!(passed(foreign), foreign);
    }

    #[test]
    fn what_is_nested_too_deep_is_left_out_and_told() {
        for kind in [b'A', b'F'] {
            for levels in [DEEP, 26_000] {
                let (deep, id) = (nested(kind, levels), text(b"x1"));
                let table = table(&[(b"id", &id), (b"tenant", &deep), (b"task", &text(b"h.add"))]);
                let out =
                    passed(&frame(TYPE | HEADERS | REPLY, &[b"\x01j", &table, b"\x06client"]));
                let properties = read(&out);
                assert_eq!(mark(&properties), "`tenant` is nested deeper than 100 levels");
                assert_eq!(properties.reply_to().as_ref().unwrap().as_str(), "client");
                let headers = super::super::values::headers(&properties);
                assert_eq!(
                    (headers["id"].as_str(), headers["task"].as_str()),
                    (Some("x1"), Some("h.add"))
                );
                assert!(headers["tenant"].is_null());
            }
        }
    }

    /// Each of these would end lapin's connection, and with it all others that use it, again and again.
    #[test]
    fn what_cannot_be_read_is_left_out_and_told() {
        let odd: [(&[u8], &[u8], &str); 6] = [
            (b"\xff", b"V", "the name of a header is no UTF-8"),
            (b"a", b"?", "its headers are no table"),
            (b"a", b"S\0\0\0\x09x", "its headers are no table"),
            (b"a", b"A\0\0\0\x01?", "`a` cannot be read"),
            (b"a", b"F\0\0\0\x03\x01\xffV", "`a` cannot be read"),
            (b"a", b"A\0\0\0\x02S\0", "`a` cannot be read"),
        ];
        for (name, value, wanted) in odd {
            let table = table(&[(b"id", &text(b"x1")), (name, value)]);
            let properties = read(&passed(&frame(HEADERS | REPLY, &[&table, b"\x06client"])));
            assert_eq!(mark(&properties), wanted);
            assert_eq!(properties.reply_to().as_ref().unwrap().as_str(), "client");
            assert_eq!(super::super::values::headers(&properties)["id"], "x1");
        }
        let properties = read(&passed(&frame(TYPE | REPLY, &[b"\x02\xff\xff", b"\x06client"])));
        assert_eq!(mark(&properties), "one of its properties is no UTF-8");
        assert_eq!(properties.reply_to().as_ref().unwrap().as_str(), "client");
        for (flags, bytes) in
            [(REPLY, b"\x09short".as_slice()), (0, b"more"), (1, b""), (HEADERS, b"\0\0\0\x09")]
        {
            let properties = read(&passed(&frame(flags, &[bytes])));
            assert_eq!(mark(&properties), "its properties end before their end");
        }
    }

    #[test]
    fn headers_beyond_measure_end_the_connection_and_fill_no_memory() {
        let mut out = Vec::new();
        let head = [HEADER, 0, 1, 0xff, 0xff, 0xff, 0xff];
        assert!(Guard::default().pass(&head, &mut out).is_err());
    }
}
