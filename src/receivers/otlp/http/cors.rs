//! Pages of other origins (Fetch standard, "HTTP CORS protocol"): who may send, as the operator says, and as the
//! Collector answers.

use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};

use super::super::reply::Reply;
use super::super::settings::Cors;

/// What a page that may send may send with.
const METHODS: [&str; 3] = ["GET", "HEAD", "POST"];
/// Headers that are allowed when none are named: with them OTLP is sent.
const HEADERS: [&str; 3] = ["accept", "content-type", "x-requested-with"];

/// The answer to a browser that asks before it lets a page send; none when this is no such question.
pub(super) fn preflight(cors: &Cors, method: &Method, headers: &HeaderMap) -> Option<Response<Reply>> {
    let wanted = headers.get(header::ACCESS_CONTROL_REQUEST_METHOD).filter(|_| *method == Method::OPTIONS)?;
    let mut response = Response::new(Reply::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let answer = response.headers_mut();
    let varies = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";
    answer.insert(header::VARY, HeaderValue::from_static(varies));
    let asked = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS);
    let is_method = wanted.to_str().is_ok_and(|wanted| METHODS.contains(&wanted));
    if !is_method
        || !asked.is_none_or(|asked| cors.allows_headers(asked))
        || !allow(cors, headers.get(header::ORIGIN), answer)
    {
        return Some(response);
    }
    answer.insert(header::ACCESS_CONTROL_ALLOW_METHODS, wanted.clone());
    if let Some(asked) = asked {
        answer.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
    }
    if cors.max_age > 0 {
        answer.insert(header::ACCESS_CONTROL_MAX_AGE, cors.max_age.into());
    }
    Some(response)
}

/// Lets the page see its answer.
pub(super) fn answer(cors: &Cors, origin: Option<&HeaderValue>, mut response: Response<Reply>) -> Response<Reply> {
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    if allow(cors, origin, headers)
        && let Ok(exposed) = HeaderValue::try_from(cors.exposed_headers.join(", "))
        && !exposed.is_empty()
    {
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
    response
}

/// Names the origin, if it is one of those that may; with credentials, as a token is one.
fn allow(cors: &Cors, origin: Option<&HeaderValue>, answer: &mut HeaderMap) -> bool {
    let Some(origin) = origin.filter(|origin| cors.allows_origin(origin)) else { return false };
    answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    answer.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    true
}

impl Cors {
    fn allows_origin(&self, origin: &HeaderValue) -> bool {
        let Ok(origin) = origin.to_str() else { return false };
        self.allowed_origins.iter().any(|allowed| matches(allowed, origin))
    }

    fn allows_headers(&self, asked: &HeaderValue) -> bool {
        let Ok(asked) = asked.to_str() else { return false };
        let is_allowed = |name: &str| match self.allowed_headers.as_slice() {
            [] => HEADERS.iter().any(|allowed| allowed.eq_ignore_ascii_case(name)),
            // The Fetch standard's own are always.
            names => {
                names.iter().any(|allowed| allowed == "*" || allowed.eq_ignore_ascii_case(name))
                    || name.eq_ignore_ascii_case("origin")
            }
        };
        asked.split(',').map(str::trim).filter(|name| !name.is_empty()).all(is_allowed)
    }
}

/// Whether an origin is the one that is allowed, whose one `*` stands for anything.
fn matches(allowed: &str, origin: &str) -> bool {
    match allowed.split_once('*') {
        None => allowed.eq_ignore_ascii_case(origin),
        Some((before, after)) => {
            let (origin, before, after) =
                (origin.to_ascii_lowercase(), before.to_ascii_lowercase(), after.to_ascii_lowercase());
            origin.len() >= before.len() + after.len() && origin.starts_with(&before) && origin.ends_with(&after)
        }
    }
}
