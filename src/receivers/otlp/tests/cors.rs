//! Pages of other origins: the answers are those of the Collector 0.162 with the same settings.

use super::lab::{Answer, Lab, any_port};
use crate::otlp::Signal;
use crate::receivers::otlp::{Admission, Cors, HttpSettings, Settings};
use crate::spool::Options;

fn lab(cors: Cors) -> Lab {
    let Settings { grpc, http, limits } = any_port();
    let http = http.map(|http| HttpSettings { cors: Some(cors), ..http });
    let settings = Settings { grpc, http, limits };
    Lab::with_settings(&[Signal::Logs], Options::default().log, Admission::default(), settings)
}

fn named() -> Cors {
    Cors {
        allowed_origins: vec!["https://*.example.net".into(), "http://one".into()],
        allowed_headers: vec!["X-Custom".into()],
        exposed_headers: Vec::new(),
        max_age: 600,
    }
}

async fn ask(lab: &Lab, origin: &str, headers: &str) -> Answer {
    let request = format!(
        "OPTIONS /v1/logs HTTP/1.1\r\nHost: x\r\nConnection: close\r\nOrigin: {origin}\r\n\
         Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: {headers}\r\n\r\n"
    );
    lab.raw(request.into_bytes()).await
}

#[tokio::test]
async fn a_page_may_send_where_its_origin_and_its_headers_are_named() {
    let lab = lab(named());
    for (origin, headers, may) in [
        ("https://a.example.net", "x-custom", true),
        ("http://one", "x-custom", true),
        ("http://ONE", "X-CUSTOM", true),
        ("http://one", "content-type", false),
        ("http://one", "x-custom,content-type", false),
        ("http://two", "x-custom", false),
        ("https://example.net", "x-custom", false),
        ("https://.example.net.evil", "x-custom", false),
    ] {
        let answer = ask(&lab, origin, headers).await;
        assert_eq!(answer.status, 204);
        let vary = "origin, access-control-request-method, access-control-request-headers";
        assert_eq!(answer.header("vary"), Some(vary));
        let allowed = ["origin", "headers", "methods", "credentials"]
            .map(|what| answer.header(&format!("access-control-allow-{what}")));
        let expected = [origin, headers, "post", "true"].map(|value| may.then(|| value.to_ascii_lowercase()));
        assert_eq!(allowed.map(|value| value.map(str::to_owned)), expected, "{origin} {headers}");
        assert_eq!(answer.header("access-control-max-age"), may.then_some("600"));
    }
}

#[tokio::test]
async fn without_names_otlp_needs_no_more_and_any_origin_may_where_it_is_said_so() {
    let lab = lab(Cors { allowed_origins: vec!["*".into()], ..Cors::default() });
    let answer = ask(&lab, "http://anybody", "content-type").await;
    assert_eq!(answer.header("access-control-allow-origin"), Some("http://anybody"));
    assert_eq!(answer.header("access-control-max-age"), None);
    assert_eq!(ask(&lab, "http://anybody", "x-other").await.header("access-control-allow-origin"), None);
}

#[tokio::test]
async fn a_page_sees_its_answer_also_when_it_is_refused() {
    let lab = lab(Cors { exposed_headers: vec!["Retry-After".into(), "X-B".into()], ..named() });
    let json = "Content-Type: application/json\r\n";
    for (body, status) in [("{}", 200), ("{", 400)] {
        let answer = lab.post("/v1/logs", &format!("{json}Origin: http://one\r\n"), body.as_bytes()).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("access-control-allow-origin"), Some("http://one"));
        assert_eq!(answer.header("access-control-expose-headers"), Some("retry-after, x-b"));
        assert_eq!(answer.header("vary"), Some("origin"));
        let other = lab.post("/v1/logs", &format!("{json}Origin: http://two\r\n"), body.as_bytes()).await;
        assert_eq!((other.status, other.header("access-control-allow-origin")), (status, None));
    }
    // What is no question of a browser is a request like others.
    let plain = lab.raw(b"OPTIONS /v1/logs HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_vec()).await;
    assert_eq!(plain.status, 405);
}
