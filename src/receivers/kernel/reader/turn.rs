//! One turn over the rings: records to events.

use std::time::{Duration, Instant};

use super::episodes::Episodes;
use super::loss::Losses;
use super::source::Source;
use crate::receivers::kernel::attribution::Attribution;
use crate::receivers::kernel::decode::symbols::Symbols;
use crate::receivers::kernel::decode::{Content, Context, Record, hung};
use crate::receivers::kernel::events::clock::WallOffset;
use crate::receivers::kernel::events::event::Event;
use crate::receivers::kernel::events::host::Host;
use crate::receivers::kernel::probes::hooks::Hook;
use crate::receivers::kernel::probes::reasons::Reasons;
use crate::receivers::kernel::settings::Settings;

/// The cgroup file systems are walked again at most this often.
const WALK: Duration = Duration::from_secs(1);

/// What makes events of numbers: the names behind them, and what was seen before.
pub(crate) struct Names {
    pub(crate) attribution: Attribution,
    pub(crate) reasons: Reasons,
    pub(crate) symbols: Symbols,
    pub(crate) episodes: Episodes,
    /// When the cgroup file systems were walked.
    pub(crate) walked: Instant,
}

/// One turn.
pub(crate) struct Turn<'a> {
    pub(crate) wall: WallOffset,
    pub(crate) settings: &'a Settings,
    pub(crate) host: &'a Host,
    pub(crate) sources: &'a mut [Source],
    pub(crate) names: &'a mut Names,
    pub(crate) losses: &'a mut Losses,
    pub(crate) events: &'a mut Vec<Event>,
}

impl Turn<'_> {
    /// Takes one turn's records out of each ring; true when there may be more.
    pub(crate) fn run(&mut self) -> bool {
        let (mut records, mut more) = (Vec::new(), false);
        self.follow_cgroups();
        for source in &mut *self.sources {
            more |= source.read(|rings| &mut rings.urgent, self.wall, self.losses, &mut records);
            more |= source.read(|rings| &mut rings.bulk, self.wall, self.losses, &mut records);
        }
        let is_hung = |record: &Record| matches!(record.content, Content::Hung(_));
        let mut listing = if records.iter().any(is_hung) { self.blocked_tasks() } else { None };
        for record in &records {
            self.learn_cgroups(record);
            record.cgroups().into_iter().for_each(|ids| self.names.attribution.seen(ids));
            let event = self.context(listing.as_mut()).event(record);
            self.events.extend(event);
        }
        if !self.names.episodes.is_empty() {
            for finished in self.names.episodes.poll() {
                let event = hung::ended(&finished, &self.context(None));
                self.events.push(event);
            }
        }
        more
    }

    fn context<'c>(&'c mut self, listing: Option<&'c mut hung::Listing>) -> Context<'c> {
        let Names { attribution, reasons, symbols, episodes, .. } = &mut *self.names;
        Context {
            settings: self.settings,
            host: self.host,
            wall: self.wall,
            attribution,
            reasons,
            symbols,
            episodes,
            listing,
            page: rustix::param::page_size() as u64,
        }
    }

    fn blocked_tasks(&mut self) -> Option<hung::Listing> {
        let source = self.sources.iter_mut().find(|source| source.loaded.has(Hook::IterTask))?;
        source.loaded.blocked_tasks().map(hung::Listing::new)
    }

    fn follow_cgroups(&mut self) {
        for source in &mut *self.sources {
            let mut records = Vec::new();
            while source.read(|rings| &mut rings.cgroups, self.wall, self.losses, &mut records) {}
            for record in records {
                if let Content::Cgroup(change) = record.content {
                    self.names.attribution.apply(change);
                }
            }
        }
    }

    /// A cgroup is in its ring before an event of it is in another; where it is not, that ring was full.
    fn learn_cgroups(&mut self, record: &Record) {
        let ids = record.cgroups();
        let unknown = |names: &Names| ids.iter().any(|ids| !names.attribution.cgroups.knows(*ids));
        if !unknown(self.names) {
            return;
        }
        self.follow_cgroups();
        if unknown(self.names) && self.names.walked.elapsed() >= WALK {
            self.names.walked = Instant::now();
            self.names.attribution.cgroups.walk_again();
        }
    }
}
