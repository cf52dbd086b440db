//! The headers that the configuration sends with each request.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::SetupError;
use crate::auth::Secret;

/// The configured headers. A name that comes twice is sent twice; values are kept out of debug output.
///
/// # Errors
/// [`SetupError::Header`] for a name or a value that cannot be sent.
pub(in crate::exporters) fn headers(configured: &[(String, Secret)]) -> Result<HeaderMap, SetupError> {
    let mut headers = HeaderMap::new();
    for (name, Secret(value)) in configured {
        let wrong = |reason| SetupError::Header { name: name.clone(), reason };
        // gRPC reads the values of those as base64.
        let key = HeaderName::from_bytes(name.as_bytes()).ok().filter(|name| !name.as_str().ends_with("-bin"));
        let key = key.ok_or_else(|| wrong("not a header name, or one that ends in -bin"))?;
        let mut value = HeaderValue::from_str(value).map_err(|_| wrong("the value is not printable ASCII"))?;
        value.set_sensitive(true);
        headers.try_append(key, value).map_err(|_| wrong("there are too many"))?;
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_comes_twice_is_sent_twice_and_no_value_is_printed() {
        let sent = headers(&[("X-Tenant".into(), "a".into()), ("x-tenant".into(), "b".into())]).unwrap();
        assert_eq!(sent.get_all("x-tenant").iter().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(format!("{sent:?}").matches(": Sensitive").count(), 2, "{sent:?}");
    }

    #[test]
    fn what_cannot_be_sent_is_named_without_its_value() {
        for (name, value) in [("a header", "hush"), ("x-bin", "hush"), ("x", "hush\n")] {
            let error = headers(&[(name.into(), value.into())]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("header {name:?} cannot be sent: ")), "{error}");
            assert!(!error.contains("hush"), "{error}");
        }
    }
}
