//! File names: of logs and cursors, which users name as they like, and of segments and spares.

use super::Error;

/// The longest file name made from a log's or cursor's name, in bytes.
const MAX_FILE_NAME: usize = 200;

/// Before the name of a file that is being made. Names of logs and cursors have none as files.
pub(crate) const UNFINISHED: char = '~';

/// The file name of a log or cursor. Letters, digits, `_`, `-` and inner dots stay; all else becomes `%xx`, so that
/// `logs/gateway` is one name in one directory.
pub(crate) fn encode(name: &str) -> Result<String, Error> {
    let mut file = String::with_capacity(name.len());
    for (at, byte) in name.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => file.push(char::from(byte)),
            b'.' if at > 0 => file.push('.'),
            _ => file.push_str(&format!("%{byte:02x}")),
        }
    }
    if file.is_empty() || file.len() > MAX_FILE_NAME {
        return Err(Error::invalid(format!("name {name:?}: must be 1 to {MAX_FILE_NAME} bytes as a file name")));
    }
    Ok(file)
}

/// The name behind a file name; `None` if `encode` never makes it.
pub(crate) fn decode(file: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(file.len());
    let mut rest = file.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        if *first == b'%' {
            let (hex, tail) = tail.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()?);
            rest = tail;
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    let name = String::from_utf8(bytes).ok()?;
    (encode(&name).ok()? == file).then_some(name)
}

/// `seg-` and the id as 16 hexadecimal digits.
pub(crate) fn segment_file(id: u64) -> String {
    format!("seg-{id:016x}")
}

/// The id in a segment's file name.
pub(crate) fn segment_id(file: &str) -> Option<u64> {
    let id = u64::from_str_radix(file.strip_prefix("seg-")?, 16).ok()?;
    (segment_file(id) == file && id > 0).then_some(id)
}

/// `spare-` and a number.
pub(crate) fn spare_file(number: u64) -> String {
    format!("spare-{number}")
}

/// The number in a spare's file name.
pub(crate) fn spare_number(file: &str) -> Option<u64> {
    let number = file.strip_prefix("spare-")?.parse().ok()?;
    (spare_file(number) == file).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_comes_back_from_its_file_name() {
        for name in ["otlp", "logs/gateway", ".hidden", "..", "a.b", "Ünï 100%", "%41", "~x"] {
            let file = encode(name).unwrap();
            assert!(!file.contains('/') && !file.starts_with('.') && !file.contains('~'), "{file}");
            assert_eq!(decode(&file).as_deref(), Some(name));
        }
    }

    #[test]
    fn names_that_cannot_be_files_are_refused() {
        assert!(encode("").is_err());
        assert!(encode(&"x".repeat(201)).is_err());
        assert_eq!(decode("%4"), None);
        assert_eq!(decode("%41"), None, "A is not written as %41");
    }

    #[test]
    fn segment_and_spare_names_are_exact() {
        assert_eq!(segment_file(255), "seg-00000000000000ff");
        assert_eq!(segment_id("seg-00000000000000ff"), Some(255));
        for bad in ["seg-ff", "seg-00000000000000FF", "seg-0000000000000000", "spare-1", "seg-00000000000000ff.tmp"] {
            assert_eq!(segment_id(bad), None, "{bad}");
        }
        assert_eq!(spare_number(&spare_file(7)), Some(7));
        assert_eq!(spare_number("spare-07"), None);
    }
}
