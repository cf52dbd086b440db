//! HTTP/2 as no client would speak it, frame by frame (RFC 9113).

use crate::case::{Case, Port, Then};
use crate::otlp;
use crate::requests::gzip;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const LOGS: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header that is neither indexed nor compressed (RFC 7541, section 6.2.2).
pub(crate) fn header(name: &str, value: &str) -> Vec<u8> {
    let mut out = vec![0];
    for text in [name, value] {
        let mut length = text.len();
        if length < 127 {
            out.push(length as u8);
        } else {
            out.push(127);
            length -= 127;
            while length >= 128 {
                out.push((length % 128) as u8 | 128);
                length /= 128;
            }
            out.push(length as u8);
        }
        out.extend_from_slice(text.as_bytes());
    }
    out
}

fn request_head(more: &[(&str, &str)]) -> Vec<u8> {
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", LOGS),
        (":authority", "a"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    fields.iter().chain(more).flat_map(|(name, value)| header(name, value)).collect()
}

fn message(flags: u8, bytes: &[u8]) -> Vec<u8> {
    [&[flags][..], &(bytes.len() as u32).to_be_bytes(), bytes].concat()
}

/// A connection that begins as it should.
fn greeting() -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, 0, &[]), &frame(SETTINGS, 1, 0, &[])].concat()
}

/// One call with this body after these further headers.
fn call(more: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut out = [greeting(), frame(HEADERS, END_HEADERS, 1, &request_head(more))].concat();
    let mut pieces = body.chunks(16 << 10).peekable();
    while let Some(piece) = pieces.next() {
        out.extend(frame(DATA, u8::from(pieces.peek().is_none()), 1, piece));
    }
    if body.is_empty() {
        out.extend(frame(DATA, END_STREAM, 1, &[]));
    }
    out
}

pub(crate) fn cases(rng: &mut fastrand::Rng) -> Vec<Case> {
    let all = calls(rng).into_iter().chain(floods()).chain(heads()).chain(frames(rng));
    all.map(|(family, bytes)| Case { family, port: Port::Grpc, bytes, then: Then::Hear }).collect()
}

/// A family and what is sent.
type Sent = (&'static str, Vec<u8>);

/// Calls whose message, encoding or headers are wrong.
fn calls(rng: &mut fastrand::Rng) -> Vec<Sent> {
    let mut sent = Vec::new();
    let mut add = |family, bytes| sent.push((family, bytes));
    let sample = &otlp::samples()[0];
    for _ in 0..200 {
        let mut body = message(0, sample);
        let at = rng.usize(0..body.len());
        body[at] ^= 1 << rng.u8(0..8);
        add("spoiled calls", call(&[], &body));
    }
    let packed = gzip(sample);
    for (flags, encoding, body) in [
        (1, "gzip", &b"no gzip"[..]),
        (1, "identity", &packed),
        (0, "gzip", &packed),
        (2, "gzip", &packed),
        (255, "", sample),
        (1, "br", &packed),
        (1, "", &packed),
        (1, "gzip", &packed[..packed.len() / 2]),
        (1, "zstd", &packed),
        (1, "gzip,gzip", &packed),
    ] {
        add("calls with a wrong encoding", call(&[("grpc-encoding", encoding)], &message(flags, body)));
    }
    for length in [0_u32, 1, 4 << 20, (4 << 20) + 1, u32::MAX, i32::MAX as u32] {
        let mut body = message(0, sample);
        body[1..5].copy_from_slice(&length.to_be_bytes());
        add("lengths that lie", call(&[], &body));
    }
    let bomb = gzip(&vec![0; 64 << 20]);
    for _ in 0..10 {
        add("bombs over gRPC", call(&[("grpc-encoding", "gzip")], &message(1, &bomb)));
    }
    for timeout in ["0n", "1H", "99999999H", "999999999S", "-1S", "x", "", "1", "1m1m"] {
        add("odd deadlines", call(&[("grpc-timeout", timeout)], &message(0, sample)));
    }
    for (name, value) in [
        ("Upper", "a"),
        ("connection", "close"),
        (":late", "a"),
        ("x", "\u{0}"),
        ("x", "a\r\nb: c"),
        ("", "a"),
        ("transfer-encoding", "chunked"),
        ("content-length", "7"),
        ("grpc-status", "0"),
        ("x-bin", "***"),
        ("content-type", "text/plain"),
        ("host", "b"),
        ("te", "gzip"),
    ] {
        add("odd headers", call(&[(name, value)], &message(0, sample)));
    }
    sent
}

/// Floods of everything that costs the sender little.
fn floods() -> Vec<Sent> {
    let mut sent = Vec::new();
    let mut add = |family, bytes| sent.push((family, bytes));
    add(
        "rapid reset",
        [
            greeting(),
            (0..5_000_u32)
                .flat_map(|n| {
                    let stream = 2 * n + 1;
                    [
                        frame(HEADERS, END_HEADERS, stream, &request_head(&[])),
                        frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]),
                    ]
                    .concat()
                })
                .collect(),
        ]
        .concat(),
    );
    add("floods", [greeting(), frame(PING, 0, 0, &[0; 8]).repeat(50_000)].concat());
    add("floods", [greeting(), frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 1]).repeat(50_000)].concat());
    add("floods", [greeting(), frame(DATA, 0, 0, &[]).repeat(50_000)].concat());
    add(
        "floods",
        [greeting(), frame(HEADERS, END_HEADERS, 1, &request_head(&[])), frame(DATA, 0, 1, &[]).repeat(50_000)]
            .concat(),
    );
    add("floods", [greeting(), frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]).repeat(50_000)].concat());
    add("floods", [greeting(), frame(GOAWAY, 0, 0, &[0; 8]).repeat(10_000)].concat());
    add("floods", [greeting(), frame(42, 0, 0, &[0; 100]).repeat(20_000)].concat());
    add(
        "continuation flood",
        [
            greeting(),
            frame(HEADERS, 0, 1, &request_head(&[])),
            frame(CONTINUATION, 0, 1, &header("x", &"y".repeat(1000))).repeat(10_000),
        ]
        .concat(),
    );
    add(
        "continuation flood",
        [greeting(), frame(HEADERS, 0, 1, &request_head(&[])), frame(CONTINUATION, 0, 1, &[]).repeat(50_000)].concat(),
    );
    add(
        "many streams",
        [greeting(), (0..2_000_u32).flat_map(|n| frame(HEADERS, END_HEADERS, 2 * n + 1, &request_head(&[]))).collect()]
            .concat(),
    );
    sent
}

fn heads() -> Vec<Sent> {
    let mut sent = Vec::new();
    let mut add = |family, bytes| sent.push((family, bytes));
    for size in [10_usize, 17 << 10, 100 << 10] {
        add(
            "large heads",
            [
                greeting(),
                frame(HEADERS, END_HEADERS | END_STREAM, 1, &request_head(&[("x", &"y".repeat(size.min(16_000)))])),
            ]
            .concat(),
        );
        let many = header("x", "y").repeat(size / 5);
        let mut frames = vec![frame(HEADERS, END_STREAM, 1, &request_head(&[]))];
        frames.extend(many.chunks(16_000 / 5 * 5).map(|piece| frame(CONTINUATION, 0, 1, piece)));
        frames.push(frame(CONTINUATION, END_HEADERS, 1, &[]));
        add("large heads", [greeting(), frames.concat()].concat());
    }
    // Indexed fields that do not exist, integers without an end, a table of 4 GiB.
    for block in [
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff][..],
        &[0x80],
        &[0xbf, 0xff, 0xff, 0x7f],
        &[0x3f, 0xff, 0xff, 0xff, 0xff, 0x0f],
        &[0x00, 0x7f],
        &[0x00, 0xff, 0xff],
    ] {
        add("broken header blocks", [greeting(), frame(HEADERS, END_HEADERS, 1, block)].concat());
    }
    sent
}

/// Frames that no state of a connection allows, and connections that break off.
fn frames(rng: &mut fastrand::Rng) -> Vec<Sent> {
    let sample = &otlp::samples()[0];
    let mut sent = Vec::new();
    let mut add = |family, bytes| sent.push((family, bytes));
    add("odd beginnings", PREFACE[..10].to_vec());
    add("odd beginnings", PREFACE.repeat(3));
    add("odd beginnings", [PREFACE, &frame(DATA, 0, 1, b"x")].concat());
    add("odd beginnings", [PREFACE, &frame(SETTINGS, 0, 0, &[0, 4, 0xff, 0xff, 0xff, 0xff])].concat());
    add("odd beginnings", [PREFACE, &frame(SETTINGS, 0, 0, &[0; 5])].concat());
    add("odd beginnings", [PREFACE, &frame(SETTINGS, 0, 1, &[])].concat());
    add("odd beginnings", [greeting(), frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]).repeat(2)].concat());
    add("odd beginnings", [greeting(), frame(WINDOW_UPDATE, 0, 0, &[0; 4])].concat());
    for _ in 0..300 {
        let mut bytes = greeting();
        for _ in 0..rng.usize(1..20) {
            let payload: Vec<u8> = (0..rng.usize(0..64)).map(|_| rng.u8(..)).collect();
            bytes.extend(frame(rng.u8(0..12), rng.u8(..), rng.u32(0..6), &payload));
        }
        add("random frames", bytes);
    }
    for _ in 0..100 {
        let mut bytes = call(&[], &message(0, sample));
        let at = rng.usize(PREFACE.len()..bytes.len());
        bytes[at] = rng.u8(..);
        add("spoiled frames", bytes);
    }
    for _ in 0..60 {
        let whole = call(&[], &message(0, sample));
        add("calls that break off", whole[..rng.usize(PREFACE.len()..whole.len())].to_vec());
    }
    sent
}
