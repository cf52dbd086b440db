//! What is said over the control socket: HTTP/1.1 with JSON bodies, documented in docs/cli.md.

use serde_json::{Value, json};

use crate::spool::{From, Move};

/// The socket's name in the data directory.
pub(crate) const SOCKET: &str = "control.sock";

/// What can be asked of one cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Seek { to: From, dry_run: bool },
    Pause,
    Resume,
    Remove,
    ReplayDeadLetters,
}

/// Something asked of one cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) log: String,
    pub(crate) cursor: String,
    pub(crate) action: Action,
}

impl Command {
    /// Where it is posted to.
    pub(crate) fn path(&self) -> &'static str {
        match self.action {
            Action::Seek { .. } => "/v1/seek",
            Action::Pause => "/v1/pause",
            Action::Resume => "/v1/resume",
            Action::Remove => "/v1/remove",
            Action::ReplayDeadLetters => "/v1/replay-dead-letters",
        }
    }

    pub(crate) fn to_json(&self) -> Value {
        let mut body = json!({ "log": self.log, "cursor": self.cursor });
        if let Action::Seek { to, dry_run } = self.action {
            body["to"] = place_json(to);
            body["dry_run"] = dry_run.into();
        }
        body
    }

    /// From what was posted to this path.
    pub(crate) fn from_json(path: &str, body: &Value) -> Result<Self, String> {
        let text = |key: &str| {
            let value = body.get(key).and_then(Value::as_str);
            value.map(str::to_owned).ok_or_else(|| format!("{key}: a string is wanted"))
        };
        let action = match path {
            "/v1/seek" => Action::Seek {
                to: body.get("to").and_then(place).ok_or("to: oldest, newest, {sequence} or {time_unix_nanos}")?,
                dry_run: body.get("dry_run").and_then(Value::as_bool).unwrap_or(false),
            },
            "/v1/pause" => Action::Pause,
            "/v1/resume" => Action::Resume,
            "/v1/remove" => Action::Remove,
            "/v1/replay-dead-letters" => Action::ReplayDeadLetters,
            _ => return Err(format!("no command {path}")),
        };
        Ok(Self { log: text("log")?, cursor: text("cursor")?, action })
    }
}

fn place_json(to: From) -> Value {
    match to {
        From::Oldest => "oldest".into(),
        From::End => "newest".into(),
        From::Sequence(sequence) => json!({ "sequence": sequence }),
        From::TimeUnixNanos(time) => json!({ "time_unix_nanos": time }),
        From::LastItems(records) => json!({ "last_records": records }),
    }
}

fn place(value: &Value) -> Option<From> {
    let number = |key: &str| value.get(key).and_then(Value::as_u64);
    match value.as_str() {
        Some("oldest") => Some(From::Oldest),
        Some("newest") => Some(From::End),
        Some(_) => None,
        None => number("sequence")
            .map(From::Sequence)
            .or_else(|| number("time_unix_nanos").map(From::TimeUnixNanos))
            .or_else(|| number("last_records").map(From::LastItems)),
    }
}

pub(crate) fn move_json(moved: &Move) -> Value {
    json!({
        "from_sequence": moved.from_sequence,
        "to_sequence": moved.to_sequence,
        "skipped_records": moved.skipped_items,
        "replayed_records": moved.replayed_items,
        "oldest_sequence": moved.oldest_sequence,
        "oldest_time_unix_nanos": moved.oldest_time_unix_nanos,
    })
}

pub(crate) fn move_from_json(body: &Value) -> Option<Move> {
    let number = |key: &str| body.get(key).and_then(Value::as_u64);
    Some(Move {
        from_sequence: number("from_sequence")?,
        to_sequence: number("to_sequence")?,
        skipped_items: number("skipped_records")?,
        replayed_items: number("replayed_records")?,
        oldest_sequence: number("oldest_sequence"),
        oldest_time_unix_nanos: number("oldest_time_unix_nanos"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_understood_as_it_was_meant() {
        let places = [From::Oldest, From::End, From::Sequence(7), From::TimeUnixNanos(u64::MAX), From::LastItems(3)];
        let seeks = places.into_iter().flat_map(|to| [true, false].map(|dry_run| Action::Seek { to, dry_run }));
        for action in seeks.chain([Action::Pause, Action::Resume, Action::Remove, Action::ReplayDeadLetters]) {
            let command = Command { log: "logs/a".into(), cursor: "c\"".into(), action };
            let said = command.to_json().to_string();
            assert_eq!(Command::from_json(command.path(), &serde_json::from_str(&said).unwrap()), Ok(command));
        }
        let wrong =
            [json!({}), json!({"log": 1, "cursor": "c"}), json!([]), json!({"log": "l", "cursor": "c", "to": "x"})];
        for body in wrong {
            assert!(Command::from_json("/v1/seek", &body).is_err(), "{body}");
        }
    }

    #[test]
    fn what_a_move_did_comes_back() {
        let moved = Move {
            from_sequence: 1,
            to_sequence: u64::MAX,
            skipped_items: 3,
            replayed_items: 4,
            oldest_sequence: None,
            oldest_time_unix_nanos: Some(5),
        };
        assert_eq!(move_from_json(&move_json(&moved)), Some(moved));
    }
}
