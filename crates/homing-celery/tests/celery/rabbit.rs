//! RabbitMQ servers of the tests, and what a test does there itself.
//!
//! `HOMING_TEST_RABBITMQ` names one that all tests share, as `amqp://guest:guest@127.0.0.1:PORT`; each has a virtual host
//! of its own there, from the list that `scripts/test` gives the server. A test that kills a server starts its own.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use homing_celery::wire::{Message, Meta};
use lapin::options::{
    BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions,
    QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldArray, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind};
use serde_json::Value;

use crate::world::{Process, log, until};

/// The URL of a test's own virtual host on the server that all share.
pub(crate) fn shared(vhost: &str) -> String {
    let server = std::env::var("HOMING_TEST_RABBITMQ").unwrap_or_else(|_| {
        panic!(
            "HOMING_TEST_RABBITMQ is not set: run `scripts/test celery`, which starts a RabbitMQ server, or name one \
             that `scripts/rabbitmq` has started, as in amqp://guest:guest@127.0.0.1:5672"
        )
    });
    format!("{server}/{vhost}")
}

/// A server of one's own.
#[derive(Debug)]
pub(crate) struct Server {
    directory: tempfile::TempDir,
    port: u16,
    process: Option<Process>,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::with("")
    }

    /// With settings of its own; `PORT` in them is one that is free.
    pub(crate) fn with(settings: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("homing-rabbit-").tempdir().unwrap();
        // Four ports beside each other, as far as anybody can tell.
        let port = loop {
            let free = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
            let others = [1, 2, 3].map(|n| TcpListener::bind(("127.0.0.1", free.wrapping_add(n))));
            if others.iter().all(Result::is_ok) {
                break free;
            }
        };
        let settings = settings.replace("PORT", &(port + 3).to_string());
        std::fs::write(directory.path().join("more.conf"), settings).unwrap();
        let mut server = Self { directory, port, process: None };
        server.run();
        server
    }

    /// Starts it, or starts it again. What it has acknowledged it keeps.
    pub(crate) fn run(&mut self) {
        let log = log(self.directory.path(), "out");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/rabbitmq");
        let process = Command::new(script)
            .arg(self.directory.path())
            .arg(self.port.to_string())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut process = Process(process);
        let is_up = process.comes_up(|| TcpStream::connect(("127.0.0.1", self.port)).is_ok());
        assert!(is_up, "RabbitMQ did not start: {}", self.file("out"));
        self.process = Some(process);
    }

    fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.directory.path().join(name)).unwrap_or_default()
    }

    /// As nobody expects it.
    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    /// The port of its own settings.
    pub(crate) fn other_port(&self) -> u16 {
        self.port + 3
    }

    pub(crate) fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}//", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        // Erlang's directory of nodes is a process beside it.
        if let Ok(pid) = self.file("epmd.pid").trim().parse::<u32>() {
            let _ = Command::new("kill").arg(pid.to_string()).status();
        }
    }
}

/// Waits for the worker of Celery's.
pub(crate) async fn there(broker: &str) {
    until("Celery's worker", || async {
        // On Redis all answers are there at once, on RabbitMQ it takes that long.
        let names = homing_celery::ping(broker, Duration::from_secs(1)).await.unwrap();
        names.iter().any(|name| name == "celery@test").then_some(())
    })
    .await;
}

/// A connection of the test's own.
pub(crate) struct Client {
    pub(crate) channel: Channel,
    connection: Connection,
}

impl Client {
    /// Once the server takes it.
    pub(crate) async fn connect(url: &str) -> Self {
        // The default virtual host has a name of one slash.
        let url = url.strip_suffix("//").map_or_else(|| url.to_owned(), |url| format!("{url}/%2f"));
        let connection = until("RabbitMQ", || async {
            Connection::connect(&url, ConnectionProperties::default()).await.ok()
        })
        .await;
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        Self { channel, connection }
    }

    /// As it is before anybody has declared anything: an earlier run may have left something.
    pub(crate) async fn empty(url: &str, queues: &[&str]) -> Self {
        let client = Self::connect(url).await;
        for queue in queues {
            let options = QueueDeleteOptions::default();
            client.channel.queue_delete((*queue).into(), options).await.unwrap();
        }
        client
    }

    /// Declares a queue as an application does.
    pub(crate) async fn declare(&self, queue: &str, arguments: &[(&str, AMQPValue)]) {
        let mut table = FieldTable::default();
        for (name, value) in arguments {
            table.insert((*name).into(), value.clone());
        }
        let options = QueueDeclareOptions::durable();
        self.channel.queue_declare(queue.into(), options, table).await.unwrap();
    }

    /// How many messages wait in a queue, and how many consume it; `None` if there is no such queue.
    pub(crate) async fn counts(&self, queue: &str) -> Option<(u32, u32)> {
        let channel = self.connection.create_channel().await.unwrap();
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let queue = channel.queue_declare(queue.into(), options, FieldTable::default()).await;
        queue.ok().map(|queue| (queue.message_count(), queue.consumer_count()))
    }

    /// Sends a task's message as a Celery client does.
    pub(crate) async fn send(&self, queue: &str, message: &Message) {
        let properties = properties(&message.header_values())
            .with_correlation_id(message.headers.id.as_str().into())
            .with_priority(message.priority);
        let properties = match &message.reply_to {
            Some(queue) => properties.with_reply_to(queue.as_str().into()),
            None => properties,
        };
        self.push(queue, message.body().to_string().as_bytes(), properties).await;
    }

    pub(crate) async fn push(&self, queue: &str, body: &[u8], properties: BasicProperties) {
        self.publish(("", queue), body, properties).await;
    }

    pub(crate) async fn publish(
        &self,
        (exchange, key): (&str, &str),
        body: &[u8],
        properties: BasicProperties,
    ) {
        let options = BasicPublishOptions::default();
        let sent =
            self.channel.basic_publish(exchange.into(), key.into(), options, body, properties);
        assert!(sent.await.unwrap().await.unwrap().is_ack());
    }

    /// Waits for a message in a queue, and takes it.
    pub(crate) async fn take(&self, queue: &str) -> (BasicProperties, Value) {
        let taken = until("a message", || async {
            let options = BasicGetOptions { no_ack: true };
            // Until the queue is declared there is no such queue, and that ends a channel.
            let channel = self.connection.create_channel().await.unwrap();
            channel.basic_get(queue.into(), options).await.ok().flatten()
        });
        let taken = taken.await.delivery;
        (taken.properties, serde_json::from_slice(&taken.data).unwrap())
    }

    /// Waits for a result for good of a task, in the queue in which its sender hears of it.
    pub(crate) async fn result(&self, queue: &str, id: &str) -> Meta {
        loop {
            let (properties, body) = self.take(queue).await;
            let meta: Meta = serde_json::from_value(body).unwrap();
            if properties.correlation_id().as_ref().is_some_and(|of| of.as_str() == id)
                && meta.status.is_final()
            {
                return meta;
            }
        }
    }

    /// A queue in which everything is heard that is sent to an exchange of everybody's.
    pub(crate) async fn hear(&self, exchange: &str, queue: &str) {
        let options = ExchangeDeclareOptions::default();
        let none = FieldTable::default();
        let kind = ExchangeKind::Fanout;
        self.channel.exchange_declare(exchange.into(), kind, options, none.clone()).await.unwrap();
        self.declare(queue, &[]).await;
        let options = QueueBindOptions::default();
        self.channel
            .queue_bind(queue.into(), exchange.into(), "".into(), options, none)
            .await
            .unwrap();
    }
}

/// What a message in JSON with these headers bears.
pub(crate) fn properties(headers: &Value) -> BasicProperties {
    let AMQPValue::FieldTable(headers) = value(headers) else { panic!("headers are a table") };
    BasicProperties::default()
        .with_content_type("application/json".into())
        .with_content_encoding("utf-8".into())
        .with_delivery_mode(2)
        .with_headers(headers)
}

fn value(value: &Value) -> AMQPValue {
    match value {
        Value::Null => AMQPValue::Void,
        Value::Bool(on) => AMQPValue::Boolean(*on),
        Value::Number(number) => match number.as_i64() {
            Some(number) => AMQPValue::LongLongInt(number),
            None => AMQPValue::Double(number.as_f64().unwrap()),
        },
        Value::String(text) => AMQPValue::LongString(text.as_str().into()),
        Value::Array(list) => {
            let mut array = FieldArray::default();
            for one in list {
                array.push(self::value(one));
            }
            AMQPValue::FieldArray(array)
        }
        Value::Object(fields) => {
            let mut table = FieldTable::default();
            for (name, field) in fields {
                table.insert(name.as_str().into(), self::value(field));
            }
            AMQPValue::FieldTable(table)
        }
    }
}
