use std::collections::BTreeMap;

use prost::Message as _;
use prost_types::field_descriptor_proto::{Label as ProtoLabel, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};

use crate::otlp::json::enums;
use crate::otlp::json::schema::{self, Field, Kind, Label, Message};

pub(super) fn any_value_table() -> &'static Message {
    let mut tables = BTreeMap::new();
    reach(&schema::LOGS_REQUEST, &mut tables);
    tables["AnyValue"]
}

fn reach(message: &'static Message, tables: &mut BTreeMap<&'static str, &'static Message>) {
    if tables.insert(message.name, message).is_none() {
        for field in message.fields {
            if let Kind::Message(inner) = field.kind {
                reach(inner, tables);
            }
        }
    }
}

/// Every message of the protocol, nested ones too, by its last name.
fn described() -> BTreeMap<String, DescriptorProto> {
    let files = FileDescriptorSet::decode(opentelemetry_proto::DESCRIPTORS).unwrap();
    let mut waiting: Vec<DescriptorProto> = files
        .file
        .into_iter()
        .filter(|file| !file.package().contains("profiles") && !file.package().contains("tracez"))
        .flat_map(|file| file.message_type)
        .collect();
    let mut messages = BTreeMap::new();
    while let Some(message) = waiting.pop() {
        waiting.extend(message.nested_type.iter().cloned());
        messages.insert(message.name().to_owned(), message);
    }
    messages
}

fn assert_row(field: &Field, described: &FieldDescriptorProto) {
    assert_eq!(field.name, described.json_name());
    let label = match (described.label(), described.oneof_index, described.proto3_optional()) {
        (ProtoLabel::Repeated, ..) => Label::Many,
        (_, Some(_), false) => Label::Choice,
        _ => Label::One,
    };
    assert_eq!(field.label, label, "{}", field.name);
    let same = match field.kind {
        Kind::Bool => described.r#type() == Type::Bool,
        Kind::Int32 => matches!(described.r#type(), Type::Int32 | Type::Enum),
        Kind::Uint32 => described.r#type() == Type::Uint32,
        Kind::Sint32 => described.r#type() == Type::Sint32,
        Kind::Fixed32 => described.r#type() == Type::Fixed32,
        Kind::Int64 => described.r#type() == Type::Int64,
        Kind::Uint64 => described.r#type() == Type::Uint64,
        Kind::Fixed64 => described.r#type() == Type::Fixed64,
        Kind::Sfixed64 => described.r#type() == Type::Sfixed64,
        Kind::Double => described.r#type() == Type::Double,
        Kind::String => described.r#type() == Type::String,
        Kind::Base64 => described.r#type() == Type::Bytes && !field.name.ends_with("Id"),
        Kind::Hex => described.r#type() == Type::Bytes && field.name.ends_with("Id"),
        Kind::Message(inner) => described.type_name().rsplit('.').next() == Some(inner.name),
    };
    assert!(same, "{}: {:?} in the table, {:?} in the protocol", field.name, field.kind, described.r#type());
}

#[test]
fn the_tables_are_the_protocol() {
    let described = described();
    let mut tables = BTreeMap::new();
    for request in [&schema::LOGS_REQUEST, &schema::TRACES_REQUEST, &schema::METRICS_REQUEST] {
        reach(request, &mut tables);
    }
    assert_eq!(tables.len(), 34);
    for (name, table) in tables {
        let message = &described[name];
        let mut fields = message.field.clone();
        fields.sort_by_key(FieldDescriptorProto::number);
        let numbers: Vec<_> = fields.iter().map(|field| u32::try_from(field.number()).unwrap()).collect();
        assert_eq!(table.fields.iter().map(|field| field.number).collect::<Vec<_>>(), numbers, "{name}");
        table.fields.iter().zip(&fields).for_each(|(field, described)| assert_row(field, described));
    }
}

#[test]
fn the_enums_are_the_protocol() {
    let files = FileDescriptorSet::decode(opentelemetry_proto::DESCRIPTORS).unwrap();
    let mut names = BTreeMap::new();
    let top = files.file.iter().flat_map(|file| &file.enum_type).cloned();
    for described in top.chain(described().into_values().flat_map(|message| message.enum_type)) {
        names.extend(described.value.iter().map(|value| (value.name().to_owned(), value.number())));
    }
    for (field, prefix, values) in enums::ENUMS {
        assert_eq!(values.len(), names.keys().filter(|name| name.starts_with(prefix)).count(), "{field}");
        for (name, number) in *values {
            assert_eq!(names.get(&format!("{prefix}{name}")), Some(number), "{prefix}{name}");
        }
    }
}
