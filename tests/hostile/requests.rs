//! Hostile requests, generated from a seed.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};

use crate::case::{Case, Port, Then};
use crate::http2;
use crate::otlp;

const PATHS: [&str; 3] = ["/v1/logs", "/v1/traces", "/v1/metrics"];

/// All cases, by family.
pub(crate) fn cases(seed: u64) -> Vec<Case> {
    let rng = &mut fastrand::Rng::with_seed(seed);
    let mut cases = Vec::new();
    cases.extend(mutated_protobuf(rng));
    cases.extend(lengths_that_lie());
    cases.extend(deep_values());
    cases.extend(broken_compression(rng));
    cases.extend(bombs());
    cases.extend(mutated_json(rng));
    cases.extend(odd_json());
    cases.extend(odd_heads(rng));
    cases.extend(odd_bodies(rng));
    cases.extend(http2::cases(rng));
    rng.shuffle(&mut cases);
    cases
}

/// A request of HTTP/1.1 with this body.
fn post(family: &'static str, path: &str, headers: &str, body: &[u8], then: Then) -> Case {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    );
    Case { family, port: Port::Http, bytes: [head.as_bytes(), body].concat(), then }
}

const PROTOBUF: &str = "Content-Type: application/x-protobuf\r\n";
const JSON: &str = "Content-Type: application/json\r\n";

fn mutate(rng: &mut fastrand::Rng, bytes: &mut Vec<u8>) {
    for _ in 0..rng.usize(1..4) {
        if bytes.is_empty() {
            return;
        }
        let at = rng.usize(0..bytes.len());
        match rng.u8(0..5) {
            0 => bytes[at] ^= 1 << rng.u8(0..8),
            1 => bytes.truncate(at),
            2 => bytes.insert(at, rng.u8(..)),
            3 => drop(bytes.remove(at)),
            _ => {
                let to = (at + rng.usize(1..16)).min(bytes.len());
                bytes[at..to].fill(0xff);
            }
        }
    }
}

fn mutated_protobuf(rng: &mut fastrand::Rng) -> Vec<Case> {
    let mut cases = Vec::new();
    for (path, sample) in PATHS.iter().zip(otlp::samples()) {
        for _ in 0..250 {
            let mut body = sample.clone();
            mutate(rng, &mut body);
            cases.push(post("mutated protobuf", path, PROTOBUF, &body, Then::Answered));
        }
    }
    cases
}

/// A length of 4 GiB and more, in place of each length of a valid request.
fn lengths_that_lie() -> Vec<Case> {
    let sample = &otlp::samples()[0];
    let lies: [&[u8]; 4] = [
        &[0xff, 0xff, 0xff, 0xff, 0x0f],
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
        &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00],
    ];
    let at = 0..sample.len().min(25);
    at.flat_map(|at| lies.map(|lie| [&sample[..at], lie, &sample[at..]].concat()))
        .map(|body| post("lengths that lie", "/v1/logs", PROTOBUF, &body, Then::Answered))
        .collect()
}

fn deep_values() -> Vec<Case> {
    let mut cases = Vec::new();
    for depth in [40, 90, 95, 100, 110, 1_000, 10_000, 100_000, 300_000] {
        // Valid up to the limit, refused beyond.
        let then = if depth > 110 { Then::Refused } else { Then::Answered };
        for list in [false, true] {
            let json = otlp::deep_json(depth, list);
            if json.len() < 15 << 20 {
                cases.push(post("deep JSON", "/v1/logs", JSON, json.as_bytes(), then));
            }
            if depth <= 10_000 {
                cases.push(post("deep protobuf", "/v1/logs", PROTOBUF, &otlp::deep_protobuf(depth, list), then));
            }
        }
        let open = vec![0x1b; depth];
        cases.push(post("groups without an end", "/v1/logs", PROTOBUF, &open, Then::Refused));
        cases.push(post("brackets without an end", "/v1/logs", JSON, &vec![b'['; depth], Then::Refused));
    }
    cases
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn broken_compression(rng: &mut fastrand::Rng) -> Vec<Case> {
    let sample = otlp::samples()[0].repeat(20);
    let packed =
        [("gzip", gzip(&sample)), ("deflate", deflate(&sample)), ("zstd", zstd::bulk::compress(&sample, 3).unwrap())];
    let mut cases = Vec::new();
    for (name, bytes) in &packed {
        let headers = format!("{PROTOBUF}Content-Encoding: {name}\r\n");
        for _ in 0..60 {
            let mut body = bytes.clone();
            mutate(rng, &mut body);
            cases.push(post("broken compression", "/v1/logs", &headers, &body, Then::Answered));
        }
        for (other, bytes) in &packed {
            if other != name {
                cases.push(post("another compression", "/v1/logs", &headers, bytes, Then::Refused));
            }
        }
    }
    for name in ["br", "gzip, gzip", "snappy", "identity, gzip", "GZIP;q=1", "\u{7f}", "x"] {
        let headers = format!("{PROTOBUF}Content-Encoding: {name}\r\n");
        cases.push(post("unknown compression", "/v1/logs", &headers, &sample, Then::Answered));
    }
    cases
}

/// Bodies of some MiB at most that want to become up to 10 GiB.
fn bombs() -> Vec<Case> {
    let zeros = vec![0; 64 << 20];
    let member = gzip(&zeros);
    let (deflated, zstd_level) = (deflate(&zeros), zstd::bulk::compress(&zeros, 19).unwrap());
    let mut cases = Vec::new();
    let mut bomb = |family, name: &str, body: &[u8]| {
        for headers in [PROTOBUF, JSON] {
            let headers = format!("{headers}Content-Encoding: {name}\r\n");
            cases.push(post(family, "/v1/logs", &headers, body, Then::Refused));
        }
    };
    bomb("bombs of gzip", "gzip", &member);
    bomb("bombs of many members", "gzip", &member.repeat(160));
    bomb("bombs of deflate", "deflate", &deflated);
    bomb("bombs of zstd", "zstd", &zstd_level);
    bomb("bombs of many frames", "zstd", &zstd_level.repeat(160));
    for blocks in [200, 2_000, 80_000] {
        bomb("bombs of runs", "zstd", &zstd_of_runs(blocks));
    }
    cases
}

/// A zstd frame of blocks that are each one byte, 128 KiB times (RFC 8878, section 3.1.1).
fn zstd_of_runs(blocks: usize) -> Vec<u8> {
    const SIZE: u32 = 128 << 10;
    // Magic number; a frame with a window of 128 KiB and no size.
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x38];
    for block in 0..blocks {
        let is_last = u32::from(block + 1 == blocks);
        let header = is_last | (1 << 1) | (SIZE << 3);
        frame.extend_from_slice(&header.to_le_bytes()[..3]);
        frame.push(0);
    }
    frame
}

fn mutated_json(rng: &mut fastrand::Rng) -> Vec<Case> {
    let mut cases = Vec::new();
    for (path, sample) in PATHS.iter().zip(otlp::json_samples()) {
        for _ in 0..150 {
            let mut body = sample.clone().into_bytes();
            mutate(rng, &mut body);
            cases.push(post("mutated JSON", path, JSON, &body, Then::Answered));
        }
    }
    cases
}

fn odd_json() -> Vec<Case> {
    let field = |field: &str| format!("{{\"resourceLogs\":[{{\"scopeLogs\":[{{\"logRecords\":[{{{field}}}]}}]}}]}}");
    let long = "9".repeat(100_000);
    let texts = [
        String::new(),
        " ".into(),
        "null".into(),
        "true".into(),
        "1".into(),
        "\"\"".into(),
        "[]".into(),
        "{".into(),
        "{}{}".into(),
        "\u{feff}{}".into(),
        "{\"resourceLogs\":{}}".into(),
        "{\"resourceLogs\":[1]}".into(),
        "{\"resourceLogs\":[[]]}".into(),
        "{\"resourceLogs\":[null]}".into(),
        "{\"resourceLogs\":null,\"resourceLogs\":[]}".into(),
        field("\"timeUnixNano\":-1"),
        field("\"timeUnixNano\":1e400"),
        field("\"timeUnixNano\":\"99999999999999999999999\""),
        field(&format!("\"timeUnixNano\":{long}")),
        field(&format!("\"timeUnixNano\":\"{long}\"")),
        field("\"timeUnixNano\":1.5"),
        field("\"severityNumber\":1e9999"),
        field("\"severityNumber\":\"NOT_A_SEVERITY\""),
        field("\"severityNumber\":2147483648"),
        field("\"traceId\":\"zz\""),
        field("\"traceId\":\"0\""),
        field("\"traceId\":17"),
        field(&format!("\"traceId\":\"{}\"", "a".repeat(1 << 20))),
        field("\"flags\":-1"),
        field("\"flags\":4294967296"),
        field("\"body\":{\"doubleValue\":\"not\"}"),
        field("\"body\":{\"bytesValue\":\"***\"}"),
        field("\"body\":{\"bytesValue\":\"A\"}"),
        field("\"body\":{\"intValue\":9223372036854775808}"),
        field("\"body\":{\"stringValue\":\"\\ud800\"}"),
        field("\"body\":{\"stringValue\":\"\\u12\"}"),
        field("\"body\":{\"stringValue\":\"\u{0}\"}"),
        field("\"body\":{\"stringValue\":\"a\",\"intValue\":1,\"boolValue\":true}"),
        field("\"body\":{\"arrayValue\":{\"values\":{}}}"),
        field("\"attributes\":[{\"key\":1}]"),
        field("\"attributes\":{\"a\":1}"),
        field(&format!("\"{}\":1", "k".repeat(1 << 20))),
        format!("{{{}}}", vec!["\"a\":1"; 200_000].join(",")),
        format!("[{}]", vec!["{}"; 200_000].join(",")),
        field(&format!("\"attributes\":[{}]", vec!["{\"key\":\"a\"}"; 100_000].join(","))),
        field("\"body\":{\"stringValue\":\"a\nb\"}"),
        "{\"a\":nul}".into(),
        "{\"a\":+1}".into(),
        "{\"a\":01}".into(),
        "{\"a\":.5}".into(),
        "{'a':1}".into(),
        "{\"a\":1,}".into(),
        "/* */{}".into(),
        "NaN".into(),
    ];
    let cases = texts.iter().map(|text| post("odd JSON", "/v1/logs", JSON, text.as_bytes(), Then::Answered));
    let invalid =
        [&b"\"\xff\xfe\""[..], b"{\"\xc0\xaf\":1}", b"\x00\x00\x00{}", b"{\"resourceLogs\":\"\xed\xa0\x80\"}"];
    cases.chain(invalid.map(|bytes| post("odd JSON", "/v1/logs", JSON, bytes, Then::Answered))).collect()
}

/// Heads that are wrong, large, many, or not finished.
fn odd_heads(rng: &mut fastrand::Rng) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut head = |text: String| {
        cases.push(Case { family: "odd heads", port: Port::Http, bytes: text.into_bytes(), then: Then::Hear })
    };
    let rest = "Host: a\r\nConnection: close\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n";
    for line in [
        "GET / HTTP/1.1",
        "POST /v1/logs HTTP/9.9",
        "POST  /v1/logs HTTP/1.1",
        "POST /v1/logs",
        "/v1/logs POST HTTP/1.1",
        "POST http://[::1 HTTP/1.1",
        "POST /v1/logs?a=b HTTP/1.1",
        "POST /v1/logs/ HTTP/1.1",
        "POST /v1/../v1/logs HTTP/1.1",
        "POST //v1/logs HTTP/1.1",
        "POST /v1/logs%00 HTTP/1.1",
        "CONNECT a:1 HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "TRACE / HTTP/1.1",
        "PRI * HTTP/2.0",
        "post /v1/logs HTTP/1.1",
        "POST /v1/logs HTTP/1.0",
        "POST /v1/logs HTTP/0.9",
        "\u{0}",
        "P",
    ] {
        head(format!("{line}\r\n{rest}"));
    }
    for size in [1 << 10, 20 << 10, 70 << 10, 1 << 20] {
        head(format!("POST /{} HTTP/1.1\r\n{rest}", "a".repeat(size)));
        head(format!("POST /v1/logs HTTP/1.1\r\nX-Long: {}\r\n{rest}", "a".repeat(size)));
        head(format!("POST /v1/logs HTTP/1.1\r\n{}: a\r\n{rest}", "a".repeat(size)));
        head(format!("POST /v1/logs HTTP/1.1\r\n{}{rest}", "X-Many: a\r\n".repeat(size / 11)));
        head(format!("POST /v1/logs HTTP/1.1\r\n X: {}", " ".repeat(size)));
    }
    for lengths in [
        "-1",
        "+1",
        "0x10",
        "1e3",
        "18446744073709551615",
        "18446744073709551616",
        "99999999999999999999999999",
        "1, 1",
        "1\r\nContent-Length: 2",
        "",
        "a",
    ] {
        head(format!("POST /v1/logs HTTP/1.1\r\nHost: a\r\n{PROTOBUF}Content-Length: {lengths}\r\n\r\na"));
        head(format!(
            "POST /v1/logs HTTP/1.1\r\nHost: a\r\n{PROTOBUF}Transfer-Encoding: chunked\r\nContent-Length: {lengths}\r\n\r\n0\r\n\r\n"
        ));
    }
    for coding in [
        "chunked, chunked",
        "gzip",
        "identity",
        "xchunked",
        "chunked\r\nTransfer-Encoding: identity",
        " chunked ",
        "\tchunked",
    ] {
        head(format!("POST /v1/logs HTTP/1.1\r\nHost: a\r\n{PROTOBUF}Transfer-Encoding: {coding}\r\n\r\n0\r\n\r\n"));
    }
    for name in [
        "Bad Name",
        "",
        "X\u{e9}",
        "X\u{0}",
        "X\r\n folded",
        ":authority",
        "Expect: 100-continue\r\nX",
        "Upgrade: h2c\r\nHTTP2-Settings: ////\r\nConnection: Upgrade\r\nX",
    ] {
        head(format!("POST /v1/logs HTTP/1.1\r\n{name}: a\r\n{rest}"));
    }
    for _ in 0..60 {
        let bytes = (0..rng.usize(1..400)).map(|_| rng.u8(..)).collect();
        let port = if rng.bool() { Port::Http } else { Port::Grpc };
        cases.push(Case { family: "noise", port, bytes, then: Then::Hear });
    }
    cases
}

/// Bodies that are cut, chunked wrongly, or end too early; and clients who leave in the middle.
fn odd_bodies(rng: &mut fastrand::Rng) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut body = |text: Vec<u8>, then| cases.push(Case { family: "odd bodies", port: Port::Http, bytes: text, then });
    let chunked = format!(
        "POST /v1/logs HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{PROTOBUF}Transfer-Encoding: chunked\r\n\r\n"
    );
    for chunks in [
        "",
        "5\r\nab",
        "zz\r\n",
        "-1\r\n",
        "ffffffffffffffff\r\n",
        "fffffffffffffffff\r\n",
        "0",
        "0\r\n",
        "2\r\nabc\r\n0\r\n\r\n",
        "1;ext=\"\r\na\r\n0\r\n\r\n",
        "1\na\n0\n\n",
        "0\r\nTrailer: x\r\n\r\n",
        "00000000000000000000000000000001\r\na\r\n0\r\n\r\n",
    ] {
        body([chunked.as_bytes(), chunks.as_bytes()].concat(), Then::Hear);
        body([chunked.as_bytes(), chunks.as_bytes()].concat(), Then::Leave);
    }
    body([chunked.as_bytes(), "1\r\na\r\n".repeat(50_000).as_bytes(), b"0\r\n\r\n"].concat(), Then::Hear);
    body([chunked.as_bytes(), format!("1;{}\r\na\r\n0\r\n\r\n", "e".repeat(1 << 20)).as_bytes()].concat(), Then::Hear);
    body([chunked.as_bytes(), b"0\r\n", "T: a\r\n".repeat(100_000).as_bytes(), b"\r\n"].concat(), Then::Hear);
    let sample = &otlp::samples()[0];
    for _ in 0..60 {
        let part = rng.usize(0..sample.len());
        let head = format!("POST /v1/logs HTTP/1.1\r\nHost: a\r\n{PROTOBUF}Content-Length: {}\r\n\r\n", sample.len());
        let then = if rng.bool() { Then::Hear } else { Then::Leave };
        body([head.as_bytes(), &sample[..part]].concat(), then);
    }
    for size in [21 << 20, 30 << 20] {
        let head = format!(
            "POST /v1/logs HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{PROTOBUF}Content-Length: {size}\r\n\r\n"
        );
        body([head.as_bytes(), &vec![0; 4 << 20]].concat(), Then::Hear);
    }
    cases
}

/// Records without anything in them, two bytes each: what is small on the wire may be large in memory.
pub(crate) fn empty_records(count: usize) -> Case {
    let records = [0x12, 0].repeat(count);
    let field = |number: u8, inside: &[u8]| {
        let mut out = vec![number << 3 | 2];
        prost::encoding::encode_varint(inside.len() as u64, &mut out);
        out.extend_from_slice(inside);
        out
    };
    post("empty records", PATHS[0], PROTOBUF, &field(1, &field(2, &records)), Then::Answered)
}
