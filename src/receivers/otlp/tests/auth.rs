//! Only who is known may send.

use prost::Message;
use tonic::Code;

use super::lab::{Lab, PROTOBUF, logs};
use crate::auth::{Bearer, Secret, ServerSettings, Source};
use crate::otlp::Signal;

fn lab(auth: &ServerSettings) -> Lab {
    Lab::of_known_clients(None, Some(auth))
}

fn text(text: &str) -> Source {
    Source::Text(Secret(text.into()))
}

#[tokio::test]
async fn a_token_is_asked_for_over_grpc_and_http() {
    let bearer = Bearer { header: http::header::AUTHORIZATION, scheme: "Bearer".into(), tokens: text("t0ken") };
    let lab = lab(&ServerSettings::Bearer(bearer));
    let mut client = lab.logs_client().await;
    let mut call = async |authorization: Option<&'static str>| {
        let mut request = tonic::Request::new(logs(1, "a"));
        if let Some(value) = authorization {
            request.metadata_mut().insert("authorization", value.parse().unwrap());
        }
        client.export(request).await.map(|_| ()).map_err(|status| status.code())
    };
    assert_eq!(call(Some("Bearer t0ken")).await, Ok(()));
    assert_eq!(call(Some("Bearer other")).await, Err(Code::Unauthenticated));
    assert_eq!(call(None).await, Err(Code::Unauthenticated));

    let body = logs(1, "a").encode_to_vec();
    let right = format!("{PROTOBUF}Authorization: Bearer t0ken\r\n");
    assert_eq!(lab.post("/v1/logs", &right, &body).await.status, 200);
    let answer = lab.post_protobuf(&body).await;
    assert_eq!((answer.status, answer.rpc_status().code), (401, Code::Unauthenticated as i32));
    assert!(answer.head.contains("www-authenticate: bearer realm="), "{}", answer.head);
    // Who is not known is not told what there is.
    assert_eq!(lab.post("/v1/traces", PROTOBUF, &[]).await.status, 401);
    assert_eq!(lab.stored(Signal::Logs).len(), 2);
}

#[tokio::test]
async fn user_and_password_are_asked_for() {
    let hash = bcrypt::hash("right", 4).unwrap();
    let lab = lab(&ServerSettings::Basic { inline: Some(text(&format!("ann:{hash}"))), file: None });
    let body = logs(1, "a").encode_to_vec();
    // ann:right, ann:wrong
    for (encoded, status) in [("YW5uOnJpZ2h0", 200), ("YW5uOndyb25n", 401)] {
        let headers = format!("{PROTOBUF}Authorization: Basic {encoded}\r\n");
        assert_eq!(lab.post("/v1/logs", &headers, &body).await.status, status, "{encoded}");
    }
    let answer = lab.post_protobuf(&body).await;
    assert!(answer.status == 401 && answer.head.contains("www-authenticate: basic realm="), "{}", answer.head);
    assert_eq!(lab.stored(Signal::Logs).len(), 1);
}
