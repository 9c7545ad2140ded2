//! Messages as no library of AMQP's sends them: frames by hand.

use std::io::{Read, Write};
use std::net::TcpStream;

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;

/// A connection with one channel that confirms.
#[derive(Debug)]
pub(crate) struct Frames(TcpStream);

pub(crate) fn short(text: &[u8]) -> Vec<u8> {
    [&[text.len() as u8], text].concat()
}

pub(crate) fn long(text: &[u8]) -> Vec<u8> {
    [(text.len() as u32).to_be_bytes().as_slice(), text].concat()
}

/// An array in an array in an array.
pub(crate) fn arrays(levels: usize) -> Vec<u8> {
    let level = |level: usize| [b"A".as_slice(), &(5 * level as u32).to_be_bytes()].concat();
    (0..levels).rev().flat_map(level).collect()
}

impl Frames {
    /// On a server of the tests, `amqp://guest:guest@HOST:PORT/VHOST`.
    pub(crate) fn connect(url: &str) -> Self {
        let (server, vhost) =
            url.strip_prefix("amqp://guest:guest@").unwrap().split_once('/').unwrap();
        let mut this = Self(TcpStream::connect(server).unwrap());
        this.0.write_all(b"AMQP\0\0\x09\x01").unwrap();
        this.hear(10, 10);
        let start = [long(b""), short(b"PLAIN"), long(b"\0guest\0guest"), short(b"en_US")];
        this.say(0, (10, 11), &start.concat());
        let tune = this.hear(10, 30);
        this.say(0, (10, 31), &tune);
        this.say(0, (10, 40), &[short(vhost.as_bytes()), short(b""), vec![0]].concat());
        this.hear(10, 41);
        this.say(1, (20, 10), &short(b""));
        this.hear(20, 11);
        this.say(1, (85, 10), &[0]);
        this.hear(85, 11);
        this
    }

    fn frame(&mut self, kind: u8, channel: u16, payload: &[u8]) {
        let head = [&[kind], channel.to_be_bytes().as_slice()].concat();
        self.0.write_all(&[head, long(payload), vec![0xce]].concat()).unwrap();
    }

    fn say(&mut self, channel: u16, (class, method): (u16, u16), arguments: &[u8]) {
        let id = [class.to_be_bytes(), method.to_be_bytes()].concat();
        self.frame(METHOD, channel, &[&id, arguments].concat());
    }

    /// Waits for a method of the server's, and brings its arguments.
    fn hear(&mut self, class: u16, method: u16) -> Vec<u8> {
        loop {
            let mut head = [0; 7];
            self.0.read_exact(&mut head).unwrap();
            let length = u32::from_be_bytes(head[3..].try_into().unwrap()) as usize;
            let mut payload = vec![0; length + 1];
            self.0.read_exact(&mut payload).unwrap();
            if head[0] == METHOD {
                let came =
                    [0, 2].map(|at| u16::from_be_bytes(payload[at..at + 2].try_into().unwrap()));
                assert_eq!(came, [class, method], "{}", String::from_utf8_lossy(&payload));
                return payload[4..length].to_vec();
            }
        }
    }

    /// Sends a message to an exchange; its properties are flags, and what they announce.
    pub(crate) fn publish(
        &mut self,
        (exchange, key): (&str, &str),
        (flags, properties): (u16, &[u8]),
        body: &[u8],
    ) {
        let to = [vec![0, 0], short(exchange.as_bytes()), short(key.as_bytes()), vec![0]];
        self.say(1, (60, 40), &to.concat());
        let content = [&[0, 60, 0, 0], (body.len() as u64).to_be_bytes().as_slice()].concat();
        self.frame(HEADER, 1, &[&content, flags.to_be_bytes().as_slice(), properties].concat());
        self.frame(BODY, 1, body);
        self.hear(60, 80);
    }
}
