//! A serializer that writes nothing and finds what JSON cannot hold, or what could not be read again:
//! infinite floats, integers beyond 64 bits, values nested too deeply.
//!
//! It stops where a value is far too deep, before the value's own `Serialize` has used up the stack. The
//! encoder that writes the value goes over it only after this has.

use std::fmt;

use serde::ser::{self, Serialize};

use crate::limits;

/// How deep a value is nested, or what is wrong with it.
pub(super) fn depth<T: Serialize + ?Sized>(value: &T) -> Result<usize, Found> {
    value.serialize(Check { above: 0 })
}

/// What was found, or what the value's own `Serialize` said.
#[derive(Debug)]
pub(super) enum Found {
    /// More levels than are measured.
    TooDeep,
    /// Anything else.
    NotJson(String),
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooDeep => f.write_str("it is nested too deeply"),
            Self::NotJson(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for Found {}

impl ser::Error for Found {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::NotJson(crate::core::foreign::shown(&message))
    }
}

/// A place within a value: how many lists and maps are around it.
#[derive(Clone, Copy)]
struct Check {
    above: usize,
}

/// How many levels there are from here downwards.
type Outcome = Result<usize, Found>;

fn float(value: f64) -> Outcome {
    if value.is_finite() {
        Ok(0)
    } else {
        Err(Found::NotJson(format!("it holds the float {value}, which JSON has no word for")))
    }
}

fn integer<T: fmt::Display + TryInto<i64> + TryInto<u64> + Copy>(value: T) -> Outcome {
    if TryInto::<i64>::try_into(value).is_ok() || TryInto::<u64>::try_into(value).is_ok() {
        return Ok(0);
    }
    let reason =
        format!("it holds the integer {value}, which has more than 64 bits: pass it as text");
    Err(Found::NotJson(reason))
}

/// A list or a map on its way through the check; or one within another that has only it, as JSON writes a
/// variant of an enum.
struct Level {
    inside: Check,
    levels: usize,
    /// The deepest of what it holds, so far.
    deepest: usize,
}

impl Level {
    fn look<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Found> {
        self.deepest = self.deepest.max(value.serialize(self.inside)?);
        Ok(())
    }
}

impl Check {
    fn levels(self, levels: usize) -> Result<Level, Found> {
        let above = self.above + levels;
        if above > limits::DEPTH_MEASURED {
            return Err(Found::TooDeep);
        }
        Ok(Level { inside: Self { above }, levels, deepest: 0 })
    }
}

macro_rules! fine {
    ($($method:ident: $type:ty),*) => {
        $(fn $method(self, _: $type) -> Outcome { Ok(0) })*
    };
}

macro_rules! compound {
    ($($trait:ident: $method:ident $(($key:ty))?),*) => {
        $(impl ser::$trait for Level {
            type Ok = usize;
            type Error = Found;
            fn $method<T: Serialize + ?Sized>(&mut self, $(_: $key,)? value: &T) -> Result<(), Found> {
                self.look(value)
            }
            fn end(self) -> Outcome { Ok(self.deepest + self.levels) }
        })*
    };
}

compound!(
    SerializeSeq: serialize_element,
    SerializeTuple: serialize_element,
    SerializeTupleStruct: serialize_field,
    SerializeTupleVariant: serialize_field,
    SerializeStruct: serialize_field (&'static str),
    SerializeStructVariant: serialize_field (&'static str)
);

impl ser::SerializeMap for Level {
    type Ok = usize;
    type Error = Found;
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Found> {
        self.look(key)
    }
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Found> {
        self.look(value)
    }
    fn end(self) -> Outcome {
        Ok(self.deepest + self.levels)
    }
}

impl ser::Serializer for Check {
    type Ok = usize;
    type Error = Found;
    type SerializeSeq = Level;
    type SerializeTuple = Level;
    type SerializeTupleStruct = Level;
    type SerializeTupleVariant = Level;
    type SerializeMap = Level;
    type SerializeStruct = Level;
    type SerializeStructVariant = Level;

    fine!(
        serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32,
        serialize_i64: i64, serialize_u8: u8, serialize_u16: u16, serialize_u32: u32,
        serialize_u64: u64, serialize_char: char, serialize_str: &str,
        serialize_unit_struct: &'static str
    );

    fn serialize_i128(self, value: i128) -> Outcome {
        integer(value)
    }
    fn serialize_u128(self, value: u128) -> Outcome {
        integer(value)
    }
    fn serialize_f32(self, value: f32) -> Outcome {
        float(f64::from(value))
    }
    fn serialize_f64(self, value: f64) -> Outcome {
        float(value)
    }
    /// JSON has a list of numbers for them.
    fn serialize_bytes(self, _: &[u8]) -> Outcome {
        self.levels(1).map(|level| level.levels)
    }
    fn serialize_none(self) -> Outcome {
        Ok(0)
    }
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Outcome {
        value.serialize(self)
    }
    fn serialize_unit(self) -> Outcome {
        Ok(0)
    }
    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Outcome {
        Ok(0)
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Outcome {
        value.serialize(self)
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Outcome {
        let mut level = self.levels(1)?;
        level.look(value)?;
        Ok(level.deepest + level.levels)
    }
    fn serialize_seq(self, _: Option<usize>) -> Result<Level, Found> {
        self.levels(1)
    }
    fn serialize_tuple(self, _: usize) -> Result<Level, Found> {
        self.levels(1)
    }
    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Level, Found> {
        self.levels(1)
    }
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Level, Found> {
        self.levels(2)
    }
    fn serialize_map(self, _: Option<usize>) -> Result<Level, Found> {
        self.levels(1)
    }
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Level, Found> {
        self.levels(1)
    }
    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Level, Found> {
        self.levels(2)
    }
}
