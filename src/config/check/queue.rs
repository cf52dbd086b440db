//! `sending_queue`. The queue is the log itself; what is said here is how far an exporter may lag, who waits then, and
//! how its requests are made.

use crate::config::fault::Problem;
use crate::config::fields::Fields;
use crate::config::node::Node;
use crate::config::source::At;
use crate::config::units::{positive_duration, size, size_text};
use crate::config::values::{boolean, integer, integer_usize, one_of, word};
use crate::exporters::drain;
use crate::spool::Limit;

/// Requests of one exporter at once.
const MOST_IN_FLIGHT: usize = 100;
/// More than this in one request would not fit what an exporter may hold in memory.
const BATCH_BYTES_MAX: u64 = 8 << 20;
/// The Collector's numbers are signed.
const MAX: u64 = i64::MAX as u64;

/// What was typed as `sending_queue.storage`, where, and under which path.
pub(super) type Storage = (String, At, String);

/// What a queue is besides the settings of its drain.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) max_pending: Option<Limit>,
    pub(super) block_on_overflow: bool,
    pub(super) storage: Option<Storage>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sizer {
    Requests,
    Items,
    Bytes,
}

pub(super) fn sending_queue(fields: &mut Fields<'_, '_, '_>, drain: &mut drain::Settings) -> Queue {
    fields.optional("sending_queue", |queue| self::queue(queue, drain)).unwrap_or_default()
}

fn queue(queue: &mut Fields<'_, '_, '_>, drain: &mut drain::Settings) -> Queue {
    let is_enabled = queue.get("enabled", boolean) != Some(false);
    if !is_enabled {
        queue.note("enabled", "no effect: everything is durable before it is acknowledged, and waits on disk");
    }
    match queue.get("num_consumers", integer_usize(1, 1_000_000)) {
        Some(1) => drain.requests_in_flight = 1,
        Some(consumers) if consumers > MOST_IN_FLIGHT => {
            drain.requests_in_flight = MOST_IN_FLIGHT;
            let note = format!("{MOST_IN_FLIGHT} requests in flight at most: they may arrive out of order");
            queue.note("num_consumers", note);
        }
        Some(consumers) => {
            drain.requests_in_flight = consumers;
            queue.note("num_consumers", format!("{consumers} requests in flight: they may arrive out of order"));
        }
        None => queue.note("num_consumers", "1 request in flight, in order (the Collector: 10, in no order)"),
    }
    let sizers = [("requests", Sizer::Requests), ("items", Sizer::Items), ("bytes", Sizer::Bytes)];
    let sizer = queue.get("sizer", one_of(&sizers));
    let limit = queue_size(queue, sizer);
    let block_on_overflow = queue.get("block_on_overflow", boolean) == Some(true);
    queue.told(&["wait_for_result"], "callers wait until the disk has the data");
    let inherited = if sizer == Some(Sizer::Bytes) { Sizer::Bytes } else { Sizer::Items };
    queue.section("batch", |fields| batch(fields, inherited, limit, drain));
    let typed = queue.get("storage", word);
    let storage = typed.map(|typed| (typed, queue.place_of("storage"), queue.path_of("storage")));
    // Without its queue, an exporter of the Collector has no limit either.
    Queue { max_pending: limit.filter(|_| is_enabled), block_on_overflow: block_on_overflow && is_enabled, storage }
}

fn queue_size(queue: &mut Fields<'_, '_, '_>, sizer: Option<Sizer>) -> Option<Limit> {
    match sizer {
        Some(Sizer::Items) => queue.get("queue_size", integer(1, MAX)).map(Limit::Items),
        Some(Sizer::Bytes) => queue.get("queue_size", size(1, MAX)).map(Limit::Bytes),
        None | Some(Sizer::Requests) => {
            if queue.get("queue_size", integer(1, MAX)).is_some() {
                let why = "no effect: requests are not what fills a disk; with `sizer: items` or `bytes` it limits what \
                           waits for this exporter, `disk_buffer.max_size` what all of them have";
                queue.note("queue_size", why);
            }
            None
        }
    }
}

/// How requests are put together.
fn batch(fields: &mut Fields<'_, '_, '_>, inherited: Sizer, limit: Option<Limit>, drain: &mut drain::Settings) {
    let sizer = fields.get("sizer", one_of(&[("items", Sizer::Items), ("bytes", Sizer::Bytes)])).unwrap_or(inherited);
    let read = |node: &Node| if sizer == Sizer::Bytes { size(0, MAX)(node) } else { integer(0, MAX)(node) };
    let min = fields.get("min_size", read).unwrap_or(0);
    // 0 is no limit.
    let max = fields.get("max_size", read).filter(|max| *max > 0);
    if max.is_some_and(|max| max < min) {
        fields.fault("max_size", Problem::new("`max_size` is smaller than `min_size`"));
    }
    let queue = match (limit, sizer) {
        (Some(Limit::Items(most)), Sizer::Items) | (Some(Limit::Bytes(most)), Sizer::Bytes) => most,
        _ => u64::MAX,
    };
    if min > queue {
        fields.fault("min_size", Problem::new("`min_size` is larger than `queue_size`: it would never be reached"));
    }
    match sizer {
        Sizer::Bytes => {
            let most = max.unwrap_or(drain.max_batch_bytes as u64).min(BATCH_BYTES_MAX);
            let held = format!("{} at most: an exporter holds no more in memory", size_text(BATCH_BYTES_MAX));
            if max.is_some_and(|max| max > most) {
                fields.note("max_size", held);
            }
            if min > most {
                fields.note("min_size", format!("a batch is sent with {}, its `max_size`", size_text(most)));
            }
            // Both are at most 8 MiB now.
            drain.max_batch_bytes = usize::try_from(most).unwrap_or(drain.max_batch_bytes);
            drain.min_batch_bytes = usize::try_from(min.min(most)).unwrap_or(drain.max_batch_bytes);
        }
        _ => {
            drain.max_batch_items = max.unwrap_or(u64::MAX);
            drain.min_batch_items = min;
        }
    }
    let is_given = fields.set("flush_timeout", &mut drain.flush_timeout, positive_duration);
    if is_given && min == 0 {
        fields.note("flush_timeout", "no effect without `min_size`: what is stored is sent at once");
    }
    fields.told(&["partition"], "requests are joined whatever their metadata");
}
