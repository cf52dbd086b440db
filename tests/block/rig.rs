//! One device with one log on it, for stories that are told by hand.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use tidegate::spool::{Durability, Spool};

use crate::check::{Checker, Verdict};
use crate::device::{Device, Marker};
use crate::filesystem::FileSystem;
use crate::images::{Drive, Images, Keep};
use crate::model::Model;
use crate::room::{Mounted, Room};
use crate::trace::Event;
use crate::workload::{Client, DATA, open};

/// Fields are dropped in this order.
pub(crate) struct Rig {
    marker: Marker,
    mounted: Option<Mounted>,
    pub(crate) device: Device,
    checker: RefCell<Checker>,
    base: PathBuf,
    _room: Room,
}

impl Rig {
    pub(crate) fn new(file_system: FileSystem) -> Self {
        let room = Room::enter();
        let base = room.memory.join("base");
        file_system.make(&base);
        let checker = RefCell::new(Checker::new(&room, "image", file_system));
        let device = Device::start(&room, &base, file_system);
        let (mounted, marker) = (Some(device.mount()), device.marker());
        Self { marker, mounted, device, checker, base, _room: room }
    }

    pub(crate) fn mounted(&self) -> &Path {
        self.mounted.as_ref().unwrap().path()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.mounted().join(DATA)
    }

    pub(crate) fn open(&self) -> (Spool, Client<'_>) {
        self.open_with(Durability::Sync)
    }

    pub(crate) fn open_with(&self, durability: Durability) -> (Spool, Client<'_>) {
        let (spool, log, _cursors) = open(&self.data(), durability).unwrap();
        (spool, Client { log, marker: &self.marker, next: self.device.trace().len() as u64 })
    }

    /// Unmounts and mounts again, as a repair does.
    pub(crate) fn remount(&mut self) {
        self.mounted.take().unwrap().unmount().unwrap();
        self.mounted = Some(self.device.mount());
    }

    /// What was promised so far.
    pub(crate) fn model(&self) -> Model {
        let mut model = Model::default();
        let trace = self.device.trace();
        for event in trace.events() {
            if let Event::Mark(text) = event {
                model.hear(text);
            }
        }
        model
    }

    /// If the power went now: with all that was not flushed, with none of it, and with half of it.
    pub(crate) fn keeps_its_promises(&self) {
        let trace = self.device.trace();
        let mut images = Images::new(&trace, &std::fs::read(&self.base).unwrap(), &Model::default(), Drive::Honest);
        images.play(trace.len());
        for keep in [Keep::All, Keep::Nothing, Keep::Some(0.5)] {
            let check = |image: &[u8], model: &Model| self.checker.borrow_mut().check(image, model);
            let verdict = images.cut(keep, &mut fastrand::Rng::with_seed(1), check);
            assert_eq!(verdict, Verdict::Survived, "{keep:?}");
        }
    }
}
