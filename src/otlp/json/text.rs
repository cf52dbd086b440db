//! JSON values as text, with what OTLP asks beyond plain JSON: NaN, hexadecimal ids, base64.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Appends a JSON string. Control characters are escaped, those above ASCII too: a terminal obeys them.
pub(crate) fn string(out: &mut String, text: &str) {
    out.push('"');
    let mut written = 0;
    for (at, c) in text.char_indices() {
        let escape: Cow<'_, str> = match c {
            '"' => "\\\"".into(),
            '\\' => "\\\\".into(),
            '\n' => "\\n".into(),
            '\r' => "\\r".into(),
            '\t' => "\\t".into(),
            c if c.is_control() => format!("\\u{:04x}", u32::from(c)).into(),
            _ => continue,
        };
        out.push_str(&text[written..at]);
        out.push_str(&escape);
        written = at + c.len_utf8();
    }
    out.push_str(&text[written..]);
    out.push('"');
}

/// Appends a number as it is printed.
pub(crate) fn number(out: &mut String, value: impl ToString) {
    out.push_str(&value.to_string());
}

/// Appends a double: a JSON number that reads back as the same bits, or a string for what JSON has no number for.
pub(crate) fn double(out: &mut String, value: f64) {
    if value.is_nan() {
        out.push_str("\"NaN\"");
    } else if value.is_infinite() {
        out.push_str(if value > 0.0 { "\"Infinity\"" } else { "\"-Infinity\"" });
    } else {
        // Debug, unlike Display, writes large and small values with an exponent.
        out.push_str(&format!("{value:?}"));
    }
}

/// Appends bytes as a base64 string.
pub(crate) fn base64(out: &mut String, bytes: &[u8]) {
    out.push('"');
    STANDARD.encode_string(bytes, out);
    out.push('"');
}

/// Appends bytes as a lower-case hexadecimal string.
pub(crate) fn hex(out: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.push('"');
    for byte in bytes {
        out.push(char::from(DIGITS[usize::from(byte >> 4)]));
        out.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    out.push('"');
}

/// A JSON object that is being written.
pub(crate) struct Object<'a> {
    out: &'a mut String,
    empty: bool,
}

impl<'a> Object<'a> {
    /// Opens an object.
    pub(crate) fn open(out: &'a mut String) -> Self {
        out.push('{');
        Self { out, empty: true }
    }

    /// Writes a member's key and returns where its value goes.
    pub(crate) fn key(&mut self, key: &str) -> &mut String {
        if !std::mem::take(&mut self.empty) {
            self.out.push(',');
        }
        string(self.out, key);
        self.out.push(':');
        self.out
    }

    /// Closes the object.
    pub(crate) fn close(self) {
        self.out.push('}');
    }
}
