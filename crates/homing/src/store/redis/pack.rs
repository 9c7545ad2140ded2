//! `MessagePack` as the scripts read and write it: lists by position, bytes as strings, `false` for what is absent.
//!
//! The server's Lua knows no binary strings and no nil in a list. Numbers are doubles there, so what may be larger than
//! 2⁵³ travels as bytes.

use rmpv::ValueRef;

use super::link::fault::{Fault, Result};
use crate::core::id::{JobId, Local, TaskId, WorkerId};
use crate::core::time::Time;

/// A list that is being written. Writing to memory does not fail.
#[derive(Debug, Default)]
pub(super) struct Pack(Vec<u8>);

impl Pack {
    pub(super) fn list(items: usize) -> Self {
        let mut pack = Self::default();
        pack.array(items);
        pack
    }

    pub(super) fn done(self) -> Vec<u8> {
        self.0
    }

    pub(super) fn written(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn array(&mut self, items: usize) -> &mut Self {
        let _ = rmp::encode::write_array_len(&mut self.0, items as u32);
        self
    }

    pub(super) fn bytes(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let bytes = bytes.as_ref();
        let _ = rmp::encode::write_str_len(&mut self.0, bytes.len() as u32);
        self.0.extend_from_slice(bytes);
        self
    }

    pub(super) fn maybe(&mut self, bytes: Option<impl AsRef<[u8]>>) -> &mut Self {
        match bytes {
            Some(bytes) => self.bytes(bytes),
            None => self.flag(false),
        }
    }

    pub(super) fn flag(&mut self, flag: bool) -> &mut Self {
        let _ = rmp::encode::write_bool(&mut self.0, flag);
        self
    }

    pub(super) fn number(&mut self, number: impl TryInto<i64>) -> &mut Self {
        let number = number.try_into().unwrap_or(i64::MAX);
        let _ = rmp::encode::write_sint(&mut self.0, number);
        self
    }

    pub(super) fn maybe_number(&mut self, number: Option<u64>) -> &mut Self {
        match number {
            Some(number) => self.number(number),
            None => self.flag(false),
        }
    }

    pub(super) fn time(&mut self, time: Time) -> &mut Self {
        self.number(time.0)
    }

    pub(super) fn maybe_time(&mut self, time: Option<Time>) -> &mut Self {
        match time {
            Some(time) => self.time(time),
            None => self.flag(false),
        }
    }

    pub(super) fn task(&mut self, task: TaskId) -> &mut Self {
        self.bytes(bytes_of(task))
    }

    pub(super) fn texts<T: AsRef<[u8]>>(&mut self, texts: impl ExactSizeIterator<Item = T>) {
        self.array(texts.len());
        for text in texts {
            self.bytes(text);
        }
    }

    /// What was written elsewhere stands here as part of the list.
    pub(super) fn part(&mut self, part: &[u8]) -> &mut Self {
        self.0.extend_from_slice(part);
        self
    }
}

/// A task's id as the scripts know it.
pub(super) fn bytes_of(task: TaskId) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(task.job.as_bytes());
    bytes[16..].copy_from_slice(&task.local.0);
    bytes
}

/// Reads a value; what is left over is ignored.
pub(super) fn parse(mut bytes: &[u8]) -> Result<ValueRef<'_>> {
    rmpv::decode::read_value_ref(&mut bytes).map_err(|error| Fault::unreadable(&error))
}

/// Reads values that stand one behind the other.
pub(super) fn parse_all(mut bytes: &[u8]) -> Result<Vec<ValueRef<'_>>> {
    let mut values = Vec::with_capacity(12);
    while !bytes.is_empty() {
        let value = rmpv::decode::read_value_ref(&mut bytes);
        values.push(value.map_err(|error| Fault::unreadable(&error))?);
    }
    Ok(values)
}

/// A list that is being read, in order.
#[derive(Debug, Clone)]
pub(super) struct List<'v, 'b>(std::slice::Iter<'v, ValueRef<'b>>);

impl<'v, 'b> List<'v, 'b> {
    pub(super) fn of(value: &'v ValueRef<'b>) -> Result<Self> {
        match value {
            ValueRef::Array(items) => Ok(Self(items.iter())),
            // What Lua makes of an empty table.
            ValueRef::Map(pairs) if pairs.is_empty() => Ok(Self([].iter())),
            other => Err(Fault::unreadable(&format!("a list was expected, not {other}"))),
        }
    }

    /// Values as `parse_all` has read them.
    pub(super) fn of_all(values: &'v [ValueRef<'b>]) -> Self {
        Self(values.iter())
    }

    pub(super) fn value(&mut self) -> Result<&'v ValueRef<'b>> {
        self.0.next().ok_or_else(|| Fault::unreadable(&"a list is too short"))
    }

    pub(super) fn left(&self) -> usize {
        self.0.len()
    }

    pub(super) fn list(&mut self) -> Result<Self> {
        Self::of(self.value()?)
    }

    pub(super) fn flag(&mut self) -> Result<bool> {
        Ok(!is_absent(self.value()?))
    }

    pub(super) fn bytes(&mut self) -> Result<&'v [u8]> {
        bytes(self.value()?)
    }

    pub(super) fn maybe_bytes(&mut self) -> Result<Option<&'v [u8]>> {
        let value = self.value()?;
        if is_absent(value) { Ok(None) } else { bytes(value).map(Some) }
    }

    pub(super) fn text(&mut self) -> Result<String> {
        text(self.bytes()?)
    }

    pub(super) fn maybe_text(&mut self) -> Result<Option<String>> {
        self.maybe_bytes()?.map(text).transpose()
    }

    pub(super) fn number(&mut self) -> Result<i64> {
        number(self.value()?)
    }

    pub(super) fn maybe_number(&mut self) -> Result<Option<i64>> {
        let value = self.value()?;
        if is_absent(value) { Ok(None) } else { number(value).map(Some) }
    }

    pub(super) fn count<T: TryFrom<i64>>(&mut self) -> Result<T> {
        let number = self.number()?;
        T::try_from(number).map_err(|_| Fault::unreadable(&format!("{number} is out of range")))
    }

    pub(super) fn time(&mut self) -> Result<Time> {
        self.number().map(Time)
    }

    pub(super) fn maybe_time(&mut self) -> Result<Option<Time>> {
        Ok(self.maybe_number()?.map(Time))
    }

    pub(super) fn local(&mut self) -> Result<Local> {
        self.bytes().and_then(sixteen).map(Local)
    }

    pub(super) fn maybe_local(&mut self) -> Result<Option<Local>> {
        Ok(self.maybe_bytes()?.map(sixteen).transpose()?.map(Local))
    }

    pub(super) fn job(&mut self) -> Result<JobId> {
        self.bytes().and_then(job)
    }

    pub(super) fn maybe_worker(&mut self) -> Result<Option<WorkerId>> {
        Ok(self.maybe_bytes()?.map(sixteen).transpose()?.map(WorkerId::from_bytes))
    }

    pub(super) fn task(&mut self) -> Result<TaskId> {
        self.bytes().and_then(task)
    }
}

fn is_absent(value: &ValueRef<'_>) -> bool {
    matches!(value, ValueRef::Nil | ValueRef::Boolean(false))
}

fn bytes<'v>(value: &'v ValueRef<'_>) -> Result<&'v [u8]> {
    match value {
        ValueRef::String(text) => Ok(text.as_bytes()),
        other => Err(Fault::unreadable(&format!("bytes were expected, not {other}"))),
    }
}

pub(super) fn number(value: &ValueRef<'_>) -> Result<i64> {
    match value {
        ValueRef::Integer(number) => number.as_i64(),
        // What Lua counts beyond 2⁵³, in as few bytes as hold it; the conversions keep within bounds.
        ValueRef::F64(number) => Some(*number as i64),
        ValueRef::F32(number) => Some(*number as i64),
        _ => None,
    }
    .ok_or_else(|| Fault::unreadable(&format!("a number was expected, not {value}")))
}

pub(super) fn text(bytes: &[u8]) -> Result<String> {
    String::from_utf8(bytes.to_vec()).map_err(|error| Fault::unreadable(&error))
}

pub(super) fn sixteen(bytes: &[u8]) -> Result<[u8; 16]> {
    bytes.try_into().map_err(|_| Fault::unreadable(&"an id has another length"))
}

pub(super) fn job(bytes: &[u8]) -> Result<JobId> {
    sixteen(bytes).map(JobId::from_bytes)
}

pub(super) fn task(bytes: &[u8]) -> Result<TaskId> {
    let (own, local) = bytes.split_at(bytes.len().min(16));
    Ok(TaskId { job: job(own)?, local: Local(sixteen(local)?) })
}
