//! AMQP's values and JSON's, and task messages as they come and go without an envelope.

use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldArray, FieldTable, ShortString};
use serde_json::{Map, Value, json};

use super::guard::{DEEP, MARK};
use crate::wire::{Message, Refused, take};

/// Headers as JSON. The guard has let none through that is nested too deep; whatever is deeper would be `null`.
pub(crate) fn headers(properties: &BasicProperties) -> Value {
    properties.headers().as_ref().map_or_else(|| json!({}), |table| read_table(table, 0))
}

fn read_table(table: &FieldTable, deep: usize) -> Value {
    let entry = |(name, value): (&ShortString, &AMQPValue)| {
        (name.as_str().to_owned(), read_value(value, deep + 1))
    };
    Value::Object(table.into_iter().map(entry).collect())
}

fn read_value(value: &AMQPValue, deep: usize) -> Value {
    match value {
        _ if deep > DEEP => Value::Null,
        AMQPValue::Boolean(on) => Value::from(*on),
        AMQPValue::ShortShortInt(number) => Value::from(*number),
        AMQPValue::ShortShortUInt(number) => Value::from(*number),
        AMQPValue::ShortInt(number) => Value::from(*number),
        AMQPValue::ShortUInt(number) => Value::from(*number),
        AMQPValue::LongInt(number) => Value::from(*number),
        AMQPValue::LongUInt(number) => Value::from(*number),
        AMQPValue::LongLongInt(number) => Value::from(*number),
        AMQPValue::Timestamp(number) => Value::from(*number),
        AMQPValue::Float(number) => Value::from(*number),
        AMQPValue::Double(number) => Value::from(*number),
        AMQPValue::DecimalValue(number) => {
            Value::from(f64::from(number.value) / 10_f64.powi(i32::from(number.scale)))
        }
        AMQPValue::ShortString(text) => Value::from(text.as_str()),
        AMQPValue::LongString(text) => Value::from(text.to_string()),
        AMQPValue::ByteArray(bytes) => Value::from(String::from_utf8_lossy(bytes.as_slice())),
        AMQPValue::FieldArray(list) => {
            list.as_slice().iter().map(|value| read_value(value, deep + 1)).collect()
        }
        AMQPValue::FieldTable(table) => read_table(table, deep),
        AMQPValue::Void => Value::Null,
    }
}

/// A header's value. What is no header's name, because it is too long for one, is left out.
fn write_value(value: &Value) -> AMQPValue {
    match value {
        Value::Null => AMQPValue::Void,
        Value::Bool(on) => AMQPValue::Boolean(*on),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => AMQPValue::LongLongInt(number),
            (None, Some(number)) => AMQPValue::Double(number),
            (None, None) => AMQPValue::LongString(number.to_string().into()),
        },
        Value::String(text) => AMQPValue::LongString(text.as_str().into()),
        Value::Array(list) => {
            let mut array = FieldArray::default();
            for value in list {
                array.push(write_value(value));
            }
            AMQPValue::FieldArray(array)
        }
        Value::Object(fields) => AMQPValue::FieldTable(write_table(fields)),
    }
}

fn write_table(fields: &Map<String, Value>) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in fields {
        if let Ok(name) = ShortString::try_new(name.as_str()) {
            table.insert(name, write_value(value));
        }
    }
    table
}

/// How many bytes headers may have: they must fit into one frame, of which RabbitMQ takes 128 KiB, and the server closes
/// the connection of whoever sends more.
const HEADERS: usize = 120_000;

/// Whether a message can be sent at all.
pub(crate) fn carries(message: &Message) -> Result<(), Refused> {
    let bytes = length(&message.header_values());
    if bytes > HEADERS {
        let reason = format!("they have {bytes} bytes, and RabbitMQ takes about {HEADERS}");
        return Err(Refused::field("the headers", reason));
    }
    Ok(())
}

/// The length of a header's value as it is sent.
fn length(value: &Value) -> usize {
    match value {
        Value::Null => 1,
        Value::Bool(_) => 2,
        Value::Number(_) => 9,
        Value::String(text) => 5 + text.len(),
        Value::Array(list) => 5 + list.iter().map(length).sum::<usize>(),
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| 1 + name.len() + length(value);
            5 + fields.iter().map(field).sum::<usize>()
        }
    }
}

/// What a message in JSON bears.
pub(super) fn properties(headers: &Value, durable: bool) -> BasicProperties {
    let table = headers.as_object().map(write_table).unwrap_or_default();
    BasicProperties::default()
        .with_content_type("application/json".into())
        .with_content_encoding("utf-8".into())
        .with_headers(table)
        .with_delivery_mode(if durable { 2 } else { 1 })
}

/// The headers and the JSON of a delivery, and otherwise why it has none.
pub(crate) fn read(delivery: &Delivery) -> Result<(Value, &[u8]), Refused> {
    let properties = &delivery.properties;
    let headers = headers(properties);
    if let Some(wrong) = headers.get(MARK).and_then(Value::as_str) {
        let reason = format!("{wrong}; send what is so odd as text, or among the task's arguments");
        return Err(Refused::field("a header", reason));
    }
    let content_type = properties.content_type().as_ref().map(ShortString::as_str);
    let encoding = properties.content_encoding().as_ref().map(ShortString::as_str);
    take(content_type, encoding, &headers)?;
    Ok((headers, &delivery.data))
}

/// The task's message in a delivery, and otherwise why it is none.
pub(crate) fn read_message(delivery: &Delivery) -> Result<Message, Refused> {
    let properties = &delivery.properties;
    let (headers, text) = read(delivery)?;
    let (bytes, limit) = (text.len(), homing::limits::PAYLOAD);
    if bytes > limit {
        return Err(Refused::TooLarge { bytes, limit });
    }
    let priority = properties.priority().unwrap_or(0);
    let mut message = Message::read(headers, text, priority)?;
    let reply_to = properties.reply_to().as_ref().map(ShortString::as_str);
    message.reply_to = reply_to.filter(|queue| !queue.is_empty()).map(str::to_owned);
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_go_there_and_back() {
        let headers = json!({
            "id": "x", "none": null, "on": true, "number": -7, "large": i64::MAX, "half": 0.5,
            "list": [1, "ü", null, [2]], "table": {"a": {"b": []}},
        });
        assert_eq!(super::headers(&properties(&headers, true)), headers);
    }

    #[test]
    fn what_no_header_can_be_called_is_left_out() {
        let headers = json!({"a".repeat(255): 1, "b".repeat(256): 2});
        let kept = super::headers(&properties(&headers, true));
        assert_eq!(kept, json!({"a".repeat(255): 1}));
    }

    #[test]
    fn a_header_nested_beyond_measure_ends() {
        let mut value = AMQPValue::Void;
        for _ in 0..300 {
            let mut list = FieldArray::default();
            list.push(value);
            value = AMQPValue::FieldArray(list);
        }
        let mut shown = &read_value(&value, 0);
        let mut deep = 0;
        while let Some(inner) = shown.get(0) {
            (shown, deep) = (inner, deep + 1);
        }
        assert_eq!((shown, deep), (&Value::Null, DEEP + 1));
    }
}
