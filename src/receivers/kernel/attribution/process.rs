//! What `/proc` tells about a process, and what of its command line may be told on.

/// Words in an argument's name that mark its value as a secret.
const SECRETS: [&str; 8] = ["password", "passwd", "pwd", "secret", "token", "apikey", "api-key", "credential"];

/// A command line as one line of text: arguments are separated by zeros, values of secrets become `***`. None when
/// there is none.
pub(crate) fn redact(raw: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(raw);
    let mut hide_next = false;
    let arguments: Vec<String> = text
        .split('\0')
        .filter(|argument| !argument.is_empty())
        .map(|argument| {
            if std::mem::take(&mut hide_next) && !argument.starts_with('-') {
                return "***".to_owned();
            }
            match argument.split_once('=') {
                Some((name, _)) if is_secret(name) => format!("{name}=***"),
                Some(_) => hide_userinfo(argument),
                None => {
                    hide_next = argument.starts_with('-') && is_secret(argument);
                    hide_userinfo(argument)
                }
            }
        })
        .collect();
    (!arguments.is_empty()).then(|| arguments.join(" "))
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace('_', "-");
    SECRETS.iter().any(|secret| name.contains(secret))
}

/// `https://user:word@host` without the word.
fn hide_userinfo(argument: &str) -> String {
    let Some((scheme, rest)) = argument.split_once("://") else { return argument.to_owned() };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    match authority.rsplit_once('@').and_then(|(info, host)| Some((info.split_once(':')?.0, host))) {
        Some((user, host)) => format!("{scheme}://{user}:***@{host}{}", &rest[authority.len()..]),
        None => argument.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_whichever_way_they_are_given() {
        let line = |arguments: &[&str]| redact(arguments.join("\0").as_bytes()).unwrap();
        assert_eq!(line(&["app", "--password", "x", "-v"]), "app --password *** -v");
        assert_eq!(line(&["app", "--db-token=x"]), "app --db-token=***");
        assert_eq!(line(&["env", "API_KEY=x", "run"]), "env API_KEY=*** run");
        assert_eq!(line(&["curl", "https://me:x@host/p?q"]), "curl https://me:***@host/p?q");
        assert_eq!(line(&["ls", "-l", "/tmp"]), "ls -l /tmp");
    }

    #[test]
    fn no_arguments_are_no_command_line() {
        assert_eq!(redact(b""), None);
        assert_eq!(redact(b"\0\0"), None);
    }
}
