//! One turn over the rings: records to events.

use std::time::{Duration, Instant};

use super::attribution::Attribution;
use super::clock::WallOffset;
use super::decode::{Content, Context, Record, hung};
use super::episodes::Episodes;
use super::event::Event;
use super::hooks::Hook;
use super::host::Host;
use super::loss::Losses;
use super::reasons::Reasons;
use super::settings::Settings;
use super::source::Source;
use super::symbols::Symbols;

/// The cgroup file systems are walked again at most this often.
const WALK: Duration = Duration::from_secs(1);

/// What makes events of numbers: the names behind them, and what was seen before.
pub(super) struct Names {
    pub(super) attribution: Attribution,
    pub(super) reasons: Reasons,
    pub(super) symbols: Symbols,
    pub(super) episodes: Episodes,
    /// When the cgroup file systems were walked.
    pub(super) walked: Instant,
}

/// One turn.
pub(super) struct Turn<'a> {
    pub(super) wall: WallOffset,
    pub(super) settings: &'a Settings,
    pub(super) host: &'a Host,
    pub(super) sources: &'a mut [Source],
    pub(super) names: &'a mut Names,
    pub(super) losses: &'a mut Losses,
    pub(super) events: &'a mut Vec<Event>,
}

impl Turn<'_> {
    /// Takes one turn's records out of each ring; true when there may be more.
    pub(super) fn run(&mut self) -> bool {
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
                    self.names.attribution.cgroups.apply(change);
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
