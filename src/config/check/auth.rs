//! The extensions `bearertokenauth` and `basicauth`, and who asks for them: `auth.authenticator`.

use super::extensions::Extension;
use super::registry::Registry;
use crate::auth::{Bearer, ClientSettings, Secret, ServerSettings, Source, hash_is_known};
use crate::config::fault::Problem;
use crate::config::fields::{Check, Fields};
use crate::config::source::At;
use crate::config::values::{path, text, texts, word};

/// An extension that authenticates.
#[derive(Debug, Clone)]
pub(super) struct Authenticator {
    /// What a receiver asks for; none: it is for exporters alone.
    server: Option<ServerSettings>,
    /// What an exporter sends; none: it is for receivers alone.
    client: Option<ClientSettings>,
}

pub(super) fn bearer(fields: &mut Fields<'_, '_, '_>) -> Option<Authenticator> {
    let mut header = http::header::AUTHORIZATION;
    fields.set("header", &mut header, |node| {
        word(node)?.parse().map_err(|_| Problem::new("this is no name of a header"))
    });
    let mut scheme = "Bearer".to_owned();
    fields.set("scheme", &mut scheme, text);
    let token = fields.get("token", text);
    let tokens = fields.get("tokens", texts);
    let file = fields.get("filename", path);
    let tokens = match (file, token, tokens) {
        // As in the Collector, a file comes first.
        (Some(file), token, tokens) => {
            let beside = [("token", token.is_some()), ("tokens", tokens.is_some())];
            beside
                .iter()
                .filter(|(_, is_there)| *is_there)
                .for_each(|(key, _)| fields.note(key, "no effect: `filename` is there"));
            Source::File(file)
        }
        (None, Some(token), None) => Source::Text(Secret(token)),
        (None, None, Some(tokens)) if !tokens.is_empty() => Source::Text(Secret(tokens.join("\n"))),
        (None, Some(_), Some(_)) => {
            fields.fault("tokens", Problem::new("`token` and `tokens` are both there").suggest("keep one of them"));
            return None;
        }
        (None, None, _) => {
            fields.fault_here(Problem::new("there is no token").suggest("write `token`, `tokens` or `filename`"));
            return None;
        }
    };
    let bearer = Bearer { header, scheme, tokens };
    Some(Authenticator {
        server: Some(ServerSettings::Bearer(bearer.clone())),
        client: Some(ClientSettings::Bearer(bearer)),
    })
}

pub(super) fn basic(fields: &mut Fields<'_, '_, '_>) -> Option<Authenticator> {
    let server = fields.optional("htpasswd", |fields| {
        let inline = fields.get("inline", text);
        for line in inline.iter().flat_map(|text| text.lines()).map(str::trim).filter(|line| !line.is_empty()) {
            let is_known = line.split_once(':').is_some_and(|(_, hash)| hash_is_known(hash));
            if !line.starts_with('#') && !is_known {
                let problem = Problem::new("a line has no `user:hash` with a hash of bcrypt's")
                    .suggest("make it with `htpasswd -nB USER`");
                fields.fault("inline", problem);
                break;
            }
        }
        let inline = inline.map(|text| Source::Text(Secret(text)));
        let file = fields.get("file", path).map(Source::File);
        if inline.is_none() && file.is_none() {
            fields.fault_here(Problem::new("there is neither `inline` nor `file`").suggest("name the users"));
        }
        ServerSettings::Basic { inline, file }
    });
    let client = fields.optional("client_auth", |fields| {
        let user = given(fields, "username", "username_file");
        let password = given(fields, "password", "password_file");
        Some(ClientSettings::Basic { user: user?, password: password? })
    });
    if server.is_none() && client.is_none() {
        fields.fault_here(
            Problem::new("neither `htpasswd` nor `client_auth` is there")
                .suggest("write `htpasswd` for a receiver, `client_auth` for an exporter"),
        );
    }
    Some(Authenticator { server, client: client.flatten() })
}

/// A secret that is written here, or in a file that is named.
fn given(fields: &mut Fields<'_, '_, '_>, key: &'static str, file: &'static str) -> Option<Source> {
    let (typed, named) = (fields.get(key, text), fields.get(file, path));
    if typed.is_some() && named.is_some() {
        fields.note(key, format!("no effect: `{file}` is there"));
    }
    let source = named.map(Source::File).or(typed.map(|typed| Source::Text(Secret(typed))));
    if source.is_none() {
        fields.fault(key, Problem::new(format!("`{key}` is missing")));
    }
    source
}

/// Who asked for an authenticator, until it is known which extensions run.
#[derive(Debug)]
pub(super) struct Authenticators<'e> {
    extensions: &'e Registry<Extension>,
    asked: Vec<(String, At, String)>,
}

impl<'e> Authenticators<'e> {
    pub(super) fn new(extensions: &'e Registry<Extension>) -> Self {
        Self { extensions, asked: Vec::new() }
    }

    /// What a receiver asks of clients: its key `auth`.
    pub(super) fn server(&mut self, fields: &mut Fields<'_, '_, '_>) -> Option<ServerSettings> {
        self.side(fields, |found| found.server, "this authenticator is for exporters alone", "give it `htpasswd`")
    }

    /// What an exporter sends: its key `auth`.
    pub(super) fn client(&mut self, fields: &mut Fields<'_, '_, '_>) -> Option<ClientSettings> {
        self.side(fields, |found| found.client, "this authenticator is for receivers alone", "give it `client_auth`")
    }

    /// One side of the authenticator that is named; that it has none is a fault.
    fn side<T>(
        &mut self,
        fields: &mut Fields<'_, '_, '_>,
        side: impl FnOnce(Authenticator) -> Option<T>,
        has_none: &str,
        suggestion: &str,
    ) -> Option<T> {
        let (found, at, path) = self.find(fields)?;
        let side = side(found);
        if side.is_none() {
            fields.check.fault(Some(at), &path, Problem::new(has_none).suggest(suggestion));
        }
        side
    }

    fn find(&mut self, fields: &mut Fields<'_, '_, '_>) -> Option<(Authenticator, At, String)> {
        let (typed, at, path) = fields.optional("auth", |fields| {
            fields.told(&["request_params"], "no parameter of a request is looked at");
            let typed = fields.require("authenticator", "bearertokenauth", word)?;
            Some((typed, fields.place_of("authenticator"), fields.path_of("authenticator")))
        })??;
        let defined = self.extensions.look_up(fields.check, &typed, at, &path)?;
        self.asked.push((typed, at, path.clone()));
        match defined.value() {
            Some(Extension::Authenticator(found)) => Some((found.clone(), at, path)),
            Some(_) => {
                let problem = Problem::new("this extension does not authenticate")
                    .suggest("name a `bearertokenauth` or a `basicauth`");
                fields.check.fault(Some(at), &path, problem);
                None
            }
            // What is wrong with it is told there.
            None => None,
        }
    }

    /// Who asked for what, for [`refuse_unused`].
    pub(super) fn into_asked(self) -> Vec<(String, At, String)> {
        self.asked
    }
}

/// As in the Collector, an authenticator has to be one of `service.extensions`.
pub(super) fn refuse_unused(check: &mut Check<'_>, extensions: &Registry<Extension>, asked: &[(String, At, String)]) {
    for (typed, at, path) in asked {
        if extensions.defined(typed).is_some_and(|defined| !defined.is_used()) {
            let problem = Problem::new(format!("the extension `{typed}` does not run"))
                .suggest(format!("add it: `service: {{ extensions: [{typed}] }}`"));
            check.fault(Some(*at), path, problem);
        }
    }
}
