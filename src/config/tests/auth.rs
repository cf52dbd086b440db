//! Authenticators: what they may be, and who may name them.

use super::bad_values::refused;
use super::{load_text, notes};
use crate::auth::{Bearer, ClientSettings, Secret, ServerSettings, Source};
use crate::config::{ExporterSettings, Receiver};

/// A configuration whose extensions start in line 2; `receiver` and `exporter` are more keys of theirs.
fn with(extensions: &str, service: &str, receiver: &str, exporter: &str) -> String {
    format!(
        "extensions:
  {extensions}
receivers: {{ otlp: {{ protocols: {{ grpc: {{ {receiver} }} }} }} }}
exporters: {{ otlp: {{ endpoint: c:1, {exporter} }} }}
service: {{ extensions: [{service}], pipelines: {{ logs: {{ receivers: [otlp], exporters: [otlp] }} }} }}
"
    )
}

const RECEIVER: &str = "receivers.otlp.protocols.grpc.auth.authenticator";
const EXPORTER: &str = "exporters.otlp.auth.authenticator";

#[test]
fn a_token_is_for_receivers_and_exporters() {
    let asks = "auth: { authenticator: bearertokenauth/a }";
    let text = with("bearertokenauth/a: { token: hush, scheme: Token }", "bearertokenauth/a", asks, asks);
    let config = load_text(&text).unwrap();
    let bearer = Bearer {
        header: http::header::AUTHORIZATION,
        scheme: "Token".into(),
        tokens: Source::Text(Secret("hush".into())),
    };
    let Some(Receiver::Otlp(receiver)) = config.receivers.values().next() else { panic!("no receiver") };
    assert_eq!(receiver.grpc.as_ref().unwrap().auth, Some(ServerSettings::Bearer(bearer.clone())));
    let ExporterSettings::Otlp(exporter) = &config.exporters.values().next().unwrap().settings else { panic!() };
    assert_eq!(exporter.auth, Some(ClientSettings::Bearer(bearer)));
    assert!(!format!("{config:?}").contains("hush"));
}

#[test]
fn basicauth_has_a_side_for_receivers_and_one_for_exporters() {
    let asks = "auth: { authenticator: basicauth }";
    let users = "basicauth: { htpasswd: { file: /etc/users } }";
    let client = "basicauth: { client_auth: { username: ann, password_file: /run/secret } }";
    load_text(&with(users, "basicauth", asks, "")).unwrap();
    load_text(&with(client, "basicauth", "", asks)).unwrap();
    refused(
        &with(users, "basicauth", "", asks),
        &[(4, EXPORTER, "this authenticator is for receivers alone", "give it `client_auth`")],
    );
    refused(
        &with(client, "basicauth", asks, ""),
        &[(3, RECEIVER, "this authenticator is for exporters alone", "give it `htpasswd`")],
    );
}

#[test]
fn an_authenticator_that_is_none_or_does_not_run() {
    let asks = "auth: { authenticator: bearertokenauth }";
    let token = "bearertokenauth: { token: hush }";
    refused(
        &with(token, "", asks, ""),
        &[(3, RECEIVER, "the extension `bearertokenauth` does not run", "extensions: [bearertokenauth]")],
    );
    refused(
        &with("health_check:", "health_check", "auth: { authenticator: health_check }", ""),
        &[(3, RECEIVER, "this extension does not authenticate", "`bearertokenauth`")],
    );
    refused(
        &with(token, "bearertokenauth", "auth: { authenticator: bearertokenauth/b }", ""),
        &[(3, RECEIVER, "the extension `bearertokenauth/b` is not defined under `extensions`", "bearertokenauth")],
    );
}

#[test]
fn authenticators_without_what_they_need() {
    let refuse = |extension: &str, kind: &str, path: &str, message: &str, suggestion: &str| {
        refused(&with(extension, kind, "", ""), &[(2, path, message, suggestion)]);
    };
    let path = "extensions.bearertokenauth";
    refuse("bearertokenauth:", "bearertokenauth", path, "there is no token", "`filename`");
    let both = "bearertokenauth: { token: a, tokens: [b] }";
    refuse(both, "bearertokenauth", &format!("{path}.tokens"), "`token` and `tokens` are both there", "keep one");
    let path = "extensions.basicauth";
    refuse("basicauth:", "basicauth", path, "neither `htpasswd` nor `client_auth` is there", "`htpasswd`");
    let md5 = "basicauth: { htpasswd: { inline: 'ann:$apr1$x$y' } }";
    let message = "a line has no `user:hash` with a hash of bcrypt's";
    refuse(md5, "basicauth", &format!("{path}.htpasswd.inline"), message, "htpasswd -nB");
    let nobody = "basicauth: { htpasswd: {} }";
    refuse(nobody, "basicauth", &format!("{path}.htpasswd"), "there is neither `inline` nor `file`", "users");
    let empty = "basicauth: { htpasswd: { inline: 'ann:' } }";
    refuse(empty, "basicauth", &format!("{path}.htpasswd.inline"), message, "htpasswd -nB");
    let nameless = "basicauth: { client_auth: { password: x } }";
    refuse(nameless, "basicauth", &format!("{path}.client_auth.username"), "`username` is missing", "");
}

#[test]
fn what_a_file_stands_in_place_of_is_told() {
    let asks = "auth: { authenticator: a }";
    let told =
        |extension: &str, kind: &str| notes(&with(extension, kind, "", &asks.replace(": a ", &format!(": {kind} "))));
    let tokens = "bearertokenauth: { filename: /run/token, token: hush, tokens: [hush] }";
    let path = "extensions.bearertokenauth";
    assert_eq!(
        told(tokens, "bearertokenauth"),
        ["token", "tokens"].map(|key| format!("{path}.{key}: no effect: `filename` is there"))
    );
    let client = "basicauth: { client_auth: { username: a, username_file: /u, password: hush, password_file: /p } }";
    let path = "extensions.basicauth.client_auth";
    assert_eq!(
        told(client, "basicauth"),
        ["username", "password"].map(|key| format!("{path}.{key}: no effect: `{key}_file` is there"))
    );
}
