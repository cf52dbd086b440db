//! Who may send to a receiver.

use std::collections::HashSet;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use subtle::ConstantTimeEq;
use tokio::time::timeout;

use super::watched::Watched;
use super::{Bearer, Source};
use crate::turns::Turns;

/// The checked settings of what a receiver asks of clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerSettings {
    /// `bearertokenauth`.
    Bearer(Bearer),
    /// `basicauth.htpasswd`: lines of `user:hash`; those of `inline` win over those of `file`.
    Basic {
        /// `inline`.
        inline: Option<Source>,
        /// `file`.
        file: Option<Source>,
    },
}

/// Why a client is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unknown {
    /// It is not who may send.
    Denied(Denied),
    /// Too many passwords are being checked: it may come again.
    Busy,
}

/// A client is not who may send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// Why, for the client.
    pub message: String,
    /// What to answer as `WWW-Authenticate` (RFC 9110, section 11.6.1).
    pub challenge: String,
}

/// So many passwords that were right are remembered.
const MAX_REMEMBERED: usize = 4096;
/// Password hashes that are computed at once: each takes a processor for a tenth of a second.
const MAX_HASHING: usize = 1;
/// Requests that wait for their turn, or have it; one more is asked to come again at once.
const MAX_IN_LINE: usize = 32;
/// How long a request waits for its turn; then it is asked to come again.
const HASHING_TIMEOUT: Duration = Duration::from_secs(2);
/// What is checked when there is no such user, so that an answer does not tell who is one.
const NOBODY: &str = "$2b$10$CwTycUXWue0Thq9StjUM0uJ8eJIZ6o5Z6w4b3p6r8eVxJ7n5uXo9W";

/// Judges clients.
#[derive(Debug)]
pub struct Server {
    kind: Kind,
    remembered: RememberedPasswords,
    hashing: Turns,
    line: Turns,
}

/// Passwords that were right, so that each is hashed once. What is remembered is keyed hashes of a password and of the
/// hash that it was checked against: a password that was changed is not remembered, whatever else a reload changes.
/// Clones share it.
#[derive(Clone, Default)]
pub struct RememberedPasswords {
    right: Arc<Mutex<HashSet<(u64, u64)>>>,
    keys: [RandomState; 2],
}

impl fmt::Debug for RememberedPasswords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl RememberedPasswords {
    fn has(&self, password: &str, hash: &str) -> bool {
        self.right().contains(&self.key(password, hash))
    }

    fn add(&self, password: &str, hash: &str) {
        let mut right = self.right();
        if right.len() >= MAX_REMEMBERED {
            right.clear();
        }
        right.insert(self.key(password, hash));
    }

    fn key(&self, password: &str, hash: &str) -> (u64, u64) {
        let [a, b] = &self.keys;
        (a.hash_one((password, hash)), b.hash_one((password, hash)))
    }

    fn right(&self) -> std::sync::MutexGuard<'_, HashSet<(u64, u64)>> {
        self.right.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
enum Kind {
    Bearer(Bearer, Watched),
    Basic(Vec<Watched>),
}

impl Server {
    /// A judge with these settings. Reads the files, so that a missing one is told at the start.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn new(settings: ServerSettings) -> Result<Self, String> {
        let kind = match settings {
            ServerSettings::Bearer(bearer) => {
                let tokens = Watched::new(bearer.tokens.clone());
                tokens.text()?;
                Kind::Bearer(bearer, tokens)
            }
            ServerSettings::Basic { inline, file } => {
                let lists: Vec<Watched> = inline.into_iter().chain(file).map(Watched::new).collect();
                lists.iter().try_for_each(|list| list.text().map(drop))?;
                Kind::Basic(lists)
            }
        };
        Ok(Self {
            kind,
            remembered: RememberedPasswords::default(),
            hashing: Turns::new(MAX_HASHING),
            line: Turns::new(MAX_IN_LINE),
        })
    }

    /// Remembers what these did, and they what this one does: judges of other ports, or of the time before a reload.
    #[must_use]
    pub fn remembering(self, remembered: RememberedPasswords) -> Self {
        Self { remembered, ..self }
    }

    /// Judges a request by its headers.
    ///
    /// # Errors
    /// [`Unknown`], with what to answer.
    pub async fn check(&self, headers: &HeaderMap) -> Result<(), Unknown> {
        match &self.kind {
            Kind::Bearer(bearer, tokens) => bearer_is_right(bearer, tokens, headers).map_err(Unknown::Denied),
            Kind::Basic(lists) => self.password_is_right(lists, headers).await,
        }
    }

    async fn password_is_right(&self, lists: &[Watched], headers: &HeaderMap) -> Result<(), Unknown> {
        let denied = |message: &str| {
            let challenge = "Basic realm=\"tidegate\", charset=\"UTF-8\"".to_owned();
            Unknown::Denied(Denied { message: message.to_owned(), challenge })
        };
        let (user, password) = basic(headers).ok_or_else(|| denied("user and password are needed (basic)"))?;
        let hash = lists.iter().find_map(|list| line_of(&list.text().ok()?, &user));
        let is_user = hash.is_some();
        let hash = hash.unwrap_or_else(|| NOBODY.to_owned());
        if is_user && self.remembered.has(&password, &hash) {
            return Ok(());
        }
        // What comes while a request waits here is held in memory.
        let _in_line = self.line.try_take().ok_or(Unknown::Busy)?;
        let turn = timeout(HASHING_TIMEOUT, self.hashing.take()).await.map_err(|_| Unknown::Busy)?;
        let remembered = self.remembered.clone();
        let is_right = turn.work(move || {
            let is_right = matches(&password, &hash);
            if is_right {
                remembered.add(&password, &hash);
            }
            is_right
        });
        if is_right.await.unwrap_or(false) && is_user { Ok(()) } else { Err(denied("wrong user or password")) }
    }
}

fn bearer_is_right(bearer: &Bearer, tokens: &Watched, headers: &HeaderMap) -> Result<(), Denied> {
    let given = headers.get(&bearer.header).map_or(&b""[..], |value| value.as_bytes());
    let tokens = tokens.text().unwrap_or_default();
    let tokens = tokens.lines().map(str::trim).filter(|token| !token.is_empty());
    // Every token is compared whole: how long it takes says nothing about them.
    let is_right =
        tokens.fold(subtle::Choice::from(0), |right, token| right | bearer.value(token).as_bytes().ct_eq(given));
    if is_right.into() {
        return Ok(());
    }
    let what = if given.is_empty() { "a token is needed" } else { "the token is not known" };
    let scheme = if bearer.scheme.is_empty() { "Bearer" } else { &bearer.scheme };
    Err(Denied {
        message: format!("{what} (header {})", bearer.header),
        challenge: format!("{scheme} realm=\"tidegate\""),
    })
}

/// User and password of `Authorization: Basic …` (RFC 7617).
fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    text.split_once(':').map(|(user, password)| (user.to_owned(), password.to_owned()))
}

/// The hash of a user in a file of htpasswd's.
fn line_of(list: &str, user: &str) -> Option<String> {
    let lines = list.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let mut pairs = lines.filter_map(|line| line.split_once(':'));
    pairs.find(|(name, _)| *name == user).map(|(_, hash)| hash.trim().to_owned())
}

/// Whether a password has this hash: bcrypt, or plain text, which htpasswd writes with `-p`.
fn matches(password: &str, hash: &str) -> bool {
    if is_bcrypt(hash) {
        // What is no bcrypt hash after all has no password.
        bcrypt::verify(password, hash).unwrap_or(false)
    } else {
        hash_is_known(hash) && bool::from(password.as_bytes().ct_eq(hash.as_bytes()))
    }
}

fn is_bcrypt(hash: &str) -> bool {
    ["$2a$", "$2b$", "$2x$", "$2y$"].iter().any(|mark| hash.starts_with(mark))
}

/// Whether passwords can be checked against what stands in a line of htpasswd's: bcrypt (`htpasswd -B`) or plain text.
#[must_use]
pub fn hash_is_known(hash: &str) -> bool {
    is_bcrypt(hash) || !(hash.is_empty() || hash.starts_with('$') || hash.starts_with('{'))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::HeaderValue;

    use super::*;
    use crate::auth::{Client, ClientSettings, Secret};

    fn text(text: &str) -> Source {
        Source::Text(Secret(text.into()))
    }

    fn bearer(tokens: Source) -> Bearer {
        Bearer { header: AUTHORIZATION, scheme: "Bearer".into(), tokens }
    }

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(http::HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())])
    }

    fn denied(checked: Result<(), Unknown>) -> Denied {
        match checked {
            Err(Unknown::Denied(denied)) => denied,
            other => panic!("not denied: {other:?}"),
        }
    }

    fn basic_header(user: &str, password: &str) -> HeaderMap {
        let client = Client::new(ClientSettings::Basic { user: text(user), password: text(password) });
        HeaderMap::from_iter([client.header().unwrap()])
    }

    #[tokio::test]
    async fn any_of_the_tokens_is_taken_and_the_first_is_sent() {
        let settings = bearer(text("one\ntwo\n"));
        let server = Server::new(ServerSettings::Bearer(settings.clone())).unwrap();
        let (name, value) = Client::new(ClientSettings::Bearer(settings)).header().unwrap();
        assert_eq!((name.as_str(), value.to_str().unwrap()), ("authorization", "Bearer one"));
        for value in ["Bearer one", "Bearer two"] {
            server.check(&headers("authorization", value)).await.unwrap();
        }
        for value in ["Bearer three", "Bearer on", "Bearer ", "one", "Basic one"] {
            let denied = denied(server.check(&headers("authorization", value)).await);
            assert_eq!(denied.challenge, "Bearer realm=\"tidegate\"");
            assert!(!denied.message.contains("one"), "{denied:?}");
        }
        assert!(denied(server.check(&HeaderMap::new()).await).message.contains("a token is needed"));
    }

    #[tokio::test]
    async fn a_header_of_its_own_may_hold_the_token_alone() {
        let settings =
            Bearer { header: http::HeaderName::from_static("x-key"), scheme: String::new(), tokens: text("k") };
        let server = Server::new(ServerSettings::Bearer(settings)).unwrap();
        server.check(&headers("x-key", "k")).await.unwrap();
        server.check(&headers("authorization", "k")).await.unwrap_err();
    }

    #[tokio::test]
    async fn passwords_are_checked_against_htpasswd() {
        let hash = bcrypt::hash("right", 4).unwrap();
        let list = format!("# users\nann:{hash}\nbob:plain\nold:$apr1$x$y\nsha:{{SHA}}x\nnil:\n");
        let server = Server::new(ServerSettings::Basic { inline: Some(text(&list)), file: None }).unwrap();
        // Twice: the second time it is remembered.
        for _ in 0..2 {
            server.check(&basic_header("ann", "right")).await.unwrap();
        }
        server.check(&basic_header("bob", "plain")).await.unwrap();
        for (user, password) in [
            ("ann", "wrong"),
            ("ann", ""),
            ("eve", "right"),
            ("old", "$apr1$x$y"),
            ("sha", "{SHA}x"),
            ("nil", ""),
            ("", ""),
        ] {
            let denied = denied(server.check(&basic_header(user, password)).await);
            assert_eq!(denied.message, "wrong user or password", "{user}");
        }
        for value in ["Basic", "Basic !!!", "Bearer x", "Basic eA=="] {
            let denied = denied(server.check(&headers("authorization", value)).await);
            assert!(denied.message.contains("are needed"), "{value}");
        }
    }

    #[tokio::test]
    #[allow(clippy::disallowed_methods, reason = "an operator's file")]
    async fn a_password_that_was_changed_is_not_remembered() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("htpasswd");
        std::fs::write(&path, "ann:first").unwrap();
        let file = Source::File(path.clone());
        let server =
            |file: &Source| Server::new(ServerSettings::Basic { inline: None, file: Some(file.clone()) }).unwrap();
        server(&file).check(&basic_header("ann", "first")).await.unwrap();
        std::fs::write(&path, "ann:second").unwrap();
        server(&file).check(&basic_header("ann", "first")).await.unwrap_err();
        std::fs::remove_file(&path).unwrap();
        let error = Server::new(ServerSettings::Basic { inline: None, file: Some(file) }).unwrap_err();
        assert!(error.contains("htpasswd"), "{error}");
    }

    #[tokio::test]
    #[allow(clippy::disallowed_methods, reason = "an operator's file")]
    async fn what_was_remembered_before_a_reload_needs_no_hash_unless_its_line_changed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("htpasswd");
        let hash = |password| bcrypt::hash(password, 4).unwrap();
        let kept = hash("kept");
        std::fs::write(&path, format!("ann:{kept}\nbob:{}\n", hash("first"))).unwrap();
        let settings = ServerSettings::Basic { inline: None, file: Some(Source::File(path.clone())) };
        let remembered = RememberedPasswords::default();
        let server = || Server::new(settings.clone()).unwrap().remembering(remembered.clone());
        let before = server();
        before.check(&basic_header("ann", "kept")).await.unwrap();
        before.check(&basic_header("bob", "first")).await.unwrap();

        std::fs::write(&path, format!("ann:{kept}\nbob:{}\n", hash("second"))).unwrap();
        let after = server();
        // No hash can be computed: who needs one waits.
        let turn = after.hashing.take().await;
        timeout(Duration::ZERO, after.check(&basic_header("ann", "kept"))).await.expect("it waits").unwrap();
        for (user, password) in [("bob", "first"), ("bob", "kept"), ("ann", "wrong")] {
            let answer = timeout(Duration::ZERO, after.check(&basic_header(user, password))).await;
            assert!(answer.is_err(), "{user} is known by {password}");
        }
        drop(turn);
        after.check(&basic_header("bob", "first")).await.unwrap_err();
        after.check(&basic_header("bob", "second")).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_client_that_hangs_up_keeps_its_turn_until_its_hash_is_done() {
        let hash = bcrypt::hash("right", 10).unwrap();
        let settings = ServerSettings::Basic { inline: Some(text(&format!("ann:{hash}"))), file: None };
        let server = Arc::new(Server::new(settings).unwrap());
        let (asked, headers) = (Arc::clone(&server), basic_header("ann", "wrong"));
        let asking = tokio::spawn(async move { asked.check(&headers).await });
        while server.hashing.free() == MAX_HASHING {
            assert!(!asking.is_finished());
            tokio::task::yield_now().await;
        }
        asking.abort();
        assert!(asking.await.unwrap_err().is_cancelled());
        assert_eq!(server.hashing.free(), 0, "the hash is still being computed");
        server.check(&basic_header("ann", "right")).await.unwrap();
    }

    #[tokio::test]
    async fn a_crowd_with_passwords_is_sent_away_at_once() {
        let hash = bcrypt::hash("right", 4).unwrap();
        let settings = ServerSettings::Basic { inline: Some(text(&format!("ann:{hash}"))), file: None };
        let server = Server::new(settings).unwrap();
        let turn = server.hashing.take().await;
        let headers = basic_header("ann", "wrong");
        let mut crowd: Vec<_> = (0..MAX_IN_LINE).map(|_| Box::pin(server.check(&headers))).collect();
        for one in &mut crowd {
            assert!(timeout(Duration::ZERO, one).await.is_err(), "it waits for its turn");
        }
        let one_more = timeout(Duration::ZERO, server.check(&headers)).await;
        assert_eq!(one_more.expect("it waits too"), Err(Unknown::Busy));
        drop((turn, crowd));
        server.check(&basic_header("ann", "right")).await.unwrap();
    }

    #[test]
    fn nothing_prints_a_secret() {
        let settings = ServerSettings::Bearer(bearer(text("hush")));
        let server = Server::new(settings.clone()).unwrap();
        assert!(!format!("{settings:?} {server:?}").contains("hush"));
    }

    #[test]
    fn nobody_has_a_hash_that_takes_as_long_as_others() {
        assert!(is_bcrypt(NOBODY) && bcrypt::verify("x", NOBODY).is_ok_and(|right| !right));
    }
}
