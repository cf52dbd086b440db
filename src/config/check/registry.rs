//! The components of one kind: defined under their section, used by a pipeline or by `service.extensions`.

use std::collections::BTreeMap;

use crate::config::catalogue::{Component, Kind, Lookup, look_up, types_here};
use crate::config::fault::Problem;
use crate::config::fields::{Check, Fields, nearest_or_all};
use crate::config::names::{Id, parse_id};
use crate::config::node::Entry;
use crate::config::source::{At, quote};

/// Everything defined under one section.
#[derive(Debug)]
pub(super) struct Registry<T> {
    kind: Kind,
    defined: Vec<Defined<T>>,
}

/// One component as it was defined.
#[derive(Debug)]
pub(super) struct Defined<T> {
    typed: String,
    /// Canonical type and name; what was typed when the type is not of this build.
    key: (String, String),
    pub(super) at: At,
    pub(super) path: String,
    /// The component and what was read of it; none when it is not in this build or could not be read.
    content: Option<(&'static Component, Id, Option<T>)>,
    used: bool,
}

impl<T> Defined<T> {
    pub(super) fn value(&self) -> Option<&T> {
        self.content.as_ref().and_then(|(_, _, value)| value.as_ref())
    }

    pub(super) fn id(&self) -> Option<&Id> {
        self.content.as_ref().map(|(_, id, _)| id)
    }

    pub(super) fn component(&self) -> Option<&'static Component> {
        self.content.as_ref().map(|(component, _, _)| *component)
    }

    pub(super) fn is_used(&self) -> bool {
        self.used
    }
}

impl<T> Registry<T> {
    /// Reads a section of the configuration; `read` reads one component's settings.
    pub(super) fn read(
        top: &mut Fields<'_, '_, '_>,
        kind: Kind,
        mut read: impl FnMut(&'static Component, &mut Fields<'_, '_, '_>) -> Option<T>,
    ) -> Self {
        let defined = top.section(kind.section(), |fields| {
            let mut defined = Vec::new();
            for entry in fields.take_all() {
                let path = fields.path_of(&entry.key);
                define(fields.check, kind, entry, path, &mut read, &mut defined);
            }
            defined
        });
        Self { kind, defined }
    }

    /// The component that a reference names, now used. A reference to nothing is a fault.
    pub(super) fn find(&mut self, check: &mut Check<'_>, typed: &str, at: At, path: &str) -> Option<&Defined<T>> {
        let defined = self.position(check, typed, at, path)?;
        self.defined[defined].used = true;
        Some(&self.defined[defined])
    }

    /// As [`Registry::find`], by who does not decide whether it is used.
    pub(super) fn look_up(&self, check: &mut Check<'_>, typed: &str, at: At, path: &str) -> Option<&Defined<T>> {
        let defined = self.position(check, typed, at, path)?;
        Some(&self.defined[defined])
    }

    /// The component with an id that is known to be one.
    pub(super) fn defined(&self, typed: &str) -> Option<&Defined<T>> {
        let (kind, name) = parse_id(typed).ok()?;
        let key = (canonical(self.kind, kind).to_owned(), name.to_owned());
        self.defined.iter().find(|defined| defined.key == key)
    }

    fn position(&self, check: &mut Check<'_>, typed: &str, at: At, path: &str) -> Option<usize> {
        let key = match parse_id(typed) {
            Ok((kind, name)) => (canonical(self.kind, kind).to_owned(), name.to_owned()),
            Err(problem) => {
                check.fault(Some(at), path, problem);
                return None;
            }
        };
        let found = self.defined.iter().position(|defined| defined.key == key);
        if found.is_none() {
            let known: Vec<&str> = self.defined.iter().map(|defined| &*defined.typed).collect();
            let section = self.kind.section();
            let problem = Problem::new(format!("the {} {} is not defined under `{section}`", self.kind, quote(typed)))
                .suggest(nearest_or_all(typed, &known, &format!("{section} defined")));
            check.fault(Some(at), path, problem);
        }
        found
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Defined<T>> {
        self.defined.iter()
    }

    /// What is used and could be read.
    pub(super) fn used(&self) -> impl Iterator<Item = (&Defined<T>, &T)> {
        self.all().filter(|defined| defined.used).filter_map(|defined| Some((defined, defined.value()?)))
    }

    /// The value of an id.
    pub(super) fn get(&self, id: &Id) -> Option<&T> {
        self.all().find(|defined| defined.id() == Some(id)).and_then(Defined::value)
    }

    /// What is used and could be read, by id.
    pub(super) fn into_used(self) -> BTreeMap<Id, T> {
        let used = self.defined.into_iter().filter(|defined| defined.used);
        used.filter_map(|defined| defined.content.and_then(|(_, id, value)| Some((id, value?)))).collect()
    }

    /// As in the Collector, what nothing names does not run.
    pub(super) fn note_unused(&self, check: &mut Check<'_>) {
        let by =
            if self.kind == Kind::Extension { "`service.extensions` does not name it" } else { "no pipeline names it" };
        for defined in self.all().filter(|defined| !defined.used && defined.content.is_some()) {
            check.note(Some(defined.at), &defined.path, format!("not used: {by}"));
        }
    }
}

fn define<T>(
    check: &mut Check<'_>,
    kind: Kind,
    entry: &Entry,
    path: String,
    read: &mut impl FnMut(&'static Component, &mut Fields<'_, '_, '_>) -> Option<T>,
    defined: &mut Vec<Defined<T>>,
) {
    let at = entry.key_at;
    let (typed_kind, name) = match parse_id(&entry.key) {
        Ok(parts) => parts,
        Err(problem) => return check.fault(Some(at), &path, problem),
    };
    let key = (canonical(kind, typed_kind).to_owned(), name.to_owned());
    if let Some(first) = defined.iter().find(|defined| defined.key == key) {
        let problem = Problem::new(format!("{} and {} are the same {kind}", quote(&first.typed), quote(&entry.key)))
            .suggest("keep one of them, or give one a name as `type/name`");
        check.fault(Some(at), &path, problem);
        return;
    }
    let content = match look_up(kind, typed_kind) {
        Lookup::Here(component) => {
            let value = check.section(Some(&entry.value), at, &path, |fields| read(component, fields));
            Some((component, Id::new(component.name, name), value))
        }
        Lookup::Elsewhere => {
            let problem = Problem::new(format!("the {kind} {} is not in this version", quote(typed_kind)))
                .suggest(format!("the {} of this version: {}", kind.section(), types_here(kind).join(", ")));
            check.fault(Some(at), &path, problem);
            None
        }
        Lookup::Unknown => {
            let problem = Problem::new(format!("unknown {kind} {}", quote(typed_kind))).suggest(nearest_or_all(
                typed_kind,
                &types_here(kind),
                kind.section(),
            ));
            check.fault(Some(at), &path, problem);
            None
        }
    };
    defined.push(Defined { typed: entry.key.clone(), key, at, path, content, used: false });
}

/// The canonical spelling of a type.
fn canonical(kind: Kind, typed: &str) -> &str {
    match look_up(kind, typed) {
        Lookup::Here(component) => component.name,
        Lookup::Elsewhere | Lookup::Unknown => typed,
    }
}
