//! The agent's own metrics in the Prometheus text format, version 0.0.4.

use std::fmt::{Display, Write as _};
use std::future::Future;
use std::sync::Arc;

use axum::http::{StatusCode, header};
use axum::{Router, routing::get};
use tokio::net::TcpListener;

use super::shared::Shared;

/// The metrics of one scrape.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
}

/// What a metric family measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only ever grows.
    Counter,
    /// Goes both ways.
    Gauge,
    /// Observations in buckets, [`Exposition::histogram`].
    Histogram,
    /// Not said.
    Unknown,
}

impl Exposition {
    /// Starts a family; its samples follow.
    pub fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
            Kind::Unknown => "untyped",
        };
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
    }

    /// One sample of the family started last.
    pub fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<String> = labels.iter().map(|(k, v)| format!("{k}=\"{}\"", escape(v))).collect();
        if labels.is_empty() {
            self.line(format_args!("{name} {value}"));
        } else {
            self.line(format_args!("{name}{{{}}} {value}", labels.join(",")));
        }
    }

    /// The samples of one histogram of the family started last: each bucket has its upper bound and how many
    /// observations are at most that.
    pub fn histogram(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        buckets: impl IntoIterator<Item = (f64, u64)>,
        count: u64,
        sum: f64,
    ) {
        let bucket = format!("{name}_bucket");
        let mut labels = labels.to_vec();
        for (bound, count) in buckets {
            self.sample(&bucket, &[&labels[..], &[("le", &bound.to_string())]].concat(), count);
        }
        labels.push(("le", "+Inf"));
        self.sample(&bucket, &labels, count);
        labels.pop();
        self.sample(&format!("{name}_sum"), &labels, sum);
        self.sample(&format!("{name}_count"), &labels, count);
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        writeln!(self.text, "{line}").unwrap_or_default();
    }
}

fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Answers `GET /metrics` with what `collect` gives.
pub async fn serve(
    listener: TcpListener,
    collect: Arc<dyn Fn() -> Exposition + Send + Sync>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) {
    let exposition = Arc::new(Shared::new(collect));
    let answer = move || async move {
        let exposition = exposition.get().await.ok_or(StatusCode::INTERNAL_SERVER_ERROR)?;
        Ok::<_, StatusCode>((
            [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
            exposition.text.clone(),
        ))
    };
    super::http::serve(listener, Router::new().route("/metrics", get(answer)), shutdown).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_value_cannot_break_out_of_its_quotes() {
        let mut exposition = Exposition::default();
        exposition.family("tidegate_test", Kind::Gauge, "Help.");
        exposition.sample("tidegate_test", &[("log", "a\"b\\c\nd")], 7);
        assert_eq!(
            exposition.text,
            "# HELP tidegate_test Help.\n# TYPE tidegate_test gauge\ntidegate_test{log=\"a\\\"b\\\\c\\nd\"} 7\n"
        );
    }
}
