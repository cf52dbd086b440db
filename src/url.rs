//! URLs as people may see them.

use std::borrow::Cow;

/// A URL without what is secret in one: a user with a password, and a query, which may hold a token. Other texts stay.
pub(crate) fn without_secrets(text: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = text.split_once("://") else { return Cow::Borrowed(text) };
    let (rest, query) = rest.split_once('?').map_or((rest, ""), |(rest, _)| (rest, "?***"));
    let (user, rest) = rest.rsplit_once('@').map_or(("", rest), |(_, rest)| ("***@", rest));
    if user.is_empty() && query.is_empty() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("{scheme}://{user}{rest}{query}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_queries_are_masked_and_nothing_else() {
        for (url, shown) in [
            ("https://user:secret@host/x", "https://***@host/x"),
            ("ftp://user:se@cret@host", "ftp://***@host"),
            ("http://host:80/x?token=secret#a", "http://host:80/x?***"),
            ("http://user@host?a=b@c", "http://***@host?***"),
            ("http://host:80/x", "http://host:80/x"),
            ("who@where?", "who@where?"),
        ] {
            assert_eq!(without_secrets(url), shown);
        }
    }
}
