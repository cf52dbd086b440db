//! The two things that the receiver asks the kernel's type information itself: the argument list of a tracepoint, and
//! the names of an enum. Layout: the kernel's `Documentation/bpf/btf.rst`.

use std::collections::HashMap;

const MAGIC: u16 = 0xeb9f;

const KIND_INT: u32 = 1;
const KIND_PTR: u32 = 2;
const KIND_ARRAY: u32 = 3;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
const KIND_TYPEDEF: u32 = 8;
const KIND_VOLATILE: u32 = 9;
const KIND_CONST: u32 = 10;
const KIND_RESTRICT: u32 = 11;
const KIND_FUNC_PROTO: u32 = 13;
const KIND_VAR: u32 = 14;
const KIND_DATASEC: u32 = 15;
const KIND_DECL_TAG: u32 = 17;
const KIND_TYPE_TAG: u32 = 18;
const KIND_ENUM64: u32 = 19;

/// The kernel's own types, as `/sys/kernel/btf/vmlinux` holds them.
#[derive(Debug)]
pub(crate) struct KernelTypes<'a> {
    types: &'a [u8],
    strings: &'a [u8],
    /// Where each type begins; type 0 is void and has no place.
    offsets: Vec<u32>,
    typedefs: HashMap<&'a str, u32>,
    enums: HashMap<&'a str, u32>,
}

impl<'a> KernelTypes<'a> {
    /// Walks the types once. None when the bytes are not BTF of this machine's byte order.
    pub(crate) fn parse(data: &'a [u8]) -> Option<Self> {
        if u16_at(data, 0)? != MAGIC {
            return None;
        }
        let header = u32_at(data, 4)? as usize;
        let section = |at: usize| -> Option<&'a [u8]> {
            let start = header.checked_add(u32_at(data, at)? as usize)?;
            data.get(start..start.checked_add(u32_at(data, at + 4)? as usize)?)
        };
        let mut this = Self {
            types: section(8)?,
            strings: section(16)?,
            offsets: vec![0],
            typedefs: HashMap::new(),
            enums: HashMap::new(),
        };
        this.index()?;
        Some(this)
    }

    fn index(&mut self) -> Option<()> {
        let mut at = 0;
        while at < self.types.len() {
            let id = u32::try_from(self.offsets.len()).ok()?;
            self.offsets.push(u32::try_from(at).ok()?);
            let info = u32_at(self.types, at + 4)?;
            let (kind, count) = (info >> 24 & 0x1f, info as usize & 0xffff);
            match kind {
                KIND_TYPEDEF => drop(self.typedefs.insert(self.string(u32_at(self.types, at)?)?, id)),
                KIND_ENUM => drop(self.enums.insert(self.string(u32_at(self.types, at)?)?, id)),
                _ => {}
            }
            at += 12
                + match kind {
                    KIND_INT | KIND_VAR | KIND_DECL_TAG => 4,
                    KIND_ARRAY => 12,
                    KIND_STRUCT | KIND_UNION | KIND_DATASEC | KIND_ENUM64 => 12 * count,
                    KIND_ENUM | KIND_FUNC_PROTO => 8 * count,
                    _ => 0,
                };
        }
        Some(())
    }

    /// The argument types of a tracepoint, in the order in which a program sees them. None: no such tracepoint.
    pub(crate) fn tracepoint(&self, name: &str) -> Option<Vec<String>> {
        let typedef = *self.typedefs.get(format!("btf_trace_{name}").as_str())?;
        let pointer = self.target(typedef)?;
        let prototype = self.target(pointer)?;
        let at = self.offset(prototype)?;
        let info = u32_at(self.types, at + 4)?;
        if info >> 24 & 0x1f != KIND_FUNC_PROTO {
            return None;
        }
        // The first argument is the tracepoint's own data, which programs do not see.
        (1..info as usize & 0xffff).map(|i| self.type_name(u32_at(self.types, at + 12 + 8 * i + 4)?)).collect()
    }

    /// The names and values of an enum, in their order; empty when there is none.
    pub(crate) fn enumerators(&self, name: &str) -> Vec<(&'a str, u32)> {
        let read = || -> Option<Vec<_>> {
            let at = self.offset(*self.enums.get(name)?)?;
            let count = u32_at(self.types, at + 4)? as usize & 0xffff;
            (0..count)
                .map(|i| {
                    let at = at + 12 + 8 * i;
                    Some((self.string(u32_at(self.types, at)?)?, u32_at(self.types, at + 4)?))
                })
                .collect()
        };
        read().unwrap_or_default()
    }

    /// `task_struct*`, `int`: the name with a star for each pointer, without qualifiers.
    fn type_name(&self, mut id: u32) -> Option<String> {
        let mut stars = 0;
        // Qualifiers and pointers nest a few deep; a cycle would be malformed.
        for _ in 0..16 {
            if id == 0 {
                return Some("void".to_owned() + &"*".repeat(stars));
            }
            let at = self.offset(id)?;
            match u32_at(self.types, at + 4)? >> 24 & 0x1f {
                KIND_PTR => stars += 1,
                KIND_CONST | KIND_VOLATILE | KIND_RESTRICT | KIND_TYPE_TAG => {}
                _ => return Some(self.string(u32_at(self.types, at)?)?.to_owned() + &"*".repeat(stars)),
            }
            id = self.target(id)?;
        }
        None
    }

    /// The type that this one refers to.
    fn target(&self, id: u32) -> Option<u32> {
        u32_at(self.types, self.offset(id)? + 8)
    }

    fn offset(&self, id: u32) -> Option<usize> {
        self.offsets.get(usize::try_from(id).ok()?).map(|at| *at as usize)
    }

    fn string(&self, at: u32) -> Option<&'a str> {
        let rest = self.strings.get(at as usize..)?;
        let end = rest.iter().position(|b| *b == 0)?;
        std::str::from_utf8(&rest[..end]).ok()
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// BTF with `typedef void (*btf_trace_probe)(void *, const struct task *, int)` and an enum of two names.
    fn sample() -> Vec<u8> {
        let strings = b"\0btf_trace_probe\0task\0int\0reason\0REASON_A\0REASON_B\0";
        let name = |s: &str| {
            let needle = [b"\0", s.as_bytes(), b"\0"].concat();
            u32::try_from(strings.windows(needle.len()).position(|w| w == needle).unwrap() + 1).unwrap()
        };
        let mut types: Vec<u32> = Vec::new();
        types.extend([name("int"), KIND_INT << 24, 4, 32]); // 1
        types.extend([name("task"), KIND_STRUCT << 24, 0]); // 2
        types.extend([0, KIND_CONST << 24, 2]); // 3
        types.extend([0, KIND_PTR << 24, 3]); // 4
        types.extend([0, KIND_PTR << 24, 0]); // 5
        types.extend([0, KIND_FUNC_PROTO << 24 | 3, 0, 0, 5, 0, 4, 0, 1]); // 6
        types.extend([0, KIND_PTR << 24, 6]); // 7
        types.extend([name("btf_trace_probe"), KIND_TYPEDEF << 24, 7]); // 8
        types.extend([name("reason"), KIND_ENUM << 24 | 2, 4, name("REASON_A"), 0, name("REASON_B"), 7]); // 9
        let types: Vec<u8> = types.iter().flat_map(|w| w.to_ne_bytes()).collect();
        let (len, strings_len) = (u32::try_from(types.len()).unwrap(), u32::try_from(strings.len()).unwrap());
        let mut data = [MAGIC.to_ne_bytes().as_slice(), &[1, 0]].concat();
        data.extend([24, 0, len, len, strings_len].iter().flat_map(|w: &u32| w.to_ne_bytes()));
        [data, types, strings.to_vec()].concat()
    }

    #[test]
    fn a_tracepoint_has_its_argument_types_without_qualifiers() {
        let data = sample();
        let types = KernelTypes::parse(&data).unwrap();
        assert_eq!(types.tracepoint("probe").unwrap(), ["task*", "int"]);
        assert_eq!(types.tracepoint("other"), None);
    }

    #[test]
    fn an_enum_has_its_names_and_values() {
        let data = sample();
        let types = KernelTypes::parse(&data).unwrap();
        assert_eq!(types.enumerators("reason"), [("REASON_A", 0), ("REASON_B", 7)]);
        assert!(types.enumerators("none").is_empty());
    }

    #[test]
    fn cut_bytes_are_refused_not_read_past() {
        let data = sample();
        for len in 0..data.len() {
            assert!(KernelTypes::parse(&data[..len]).is_none(), "{len} bytes");
        }
    }
}
