//! The file systems under test.

use std::path::Path;

use crate::room::run;

/// A file system and how it is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileSystem {
    Ext4 {
        /// Mount options besides the usual ones.
        options: &'static str,
    },
    Xfs,
}

/// How ext4 may be mounted, the default first.
const EXT4_OPTIONS: [&str; 4] = ["data=ordered", "nodelalloc", "data=writeback", "data=journal"];

impl FileSystem {
    pub(crate) const EXT4: Self = Self::Ext4 { options: EXT4_OPTIONS[0] };

    /// The same file system mounted in another way: half of the time in the default one.
    pub(crate) fn vary(self, dice: &mut fastrand::Rng) -> Self {
        match self {
            Self::Ext4 { .. } if dice.bool() => Self::EXT4,
            Self::Ext4 { .. } => Self::Ext4 { options: EXT4_OPTIONS[dice.usize(1..EXT4_OPTIONS.len())] },
            Self::Xfs => Self::Xfs,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ext4 { .. } => "ext4",
            Self::Xfs => "xfs",
        }
    }

    /// The smallest that is of use: the smaller, the faster an image is laid out.
    fn size(self) -> u64 {
        match self {
            Self::Ext4 { .. } => 12 << 20,
            // What mkfs.xfs asks for at least.
            Self::Xfs => 300 << 20,
        }
    }

    pub(crate) fn mount_options(self) -> String {
        match self {
            Self::Ext4 { options } => format!("errors=remount-ro,{options}"),
            // Two images of one device are mounted at the same time.
            Self::Xfs => "nouuid".to_owned(),
        }
    }

    /// Makes an empty file system in a new file.
    pub(crate) fn make(self, file: &Path) {
        std::fs::File::create(file).unwrap().set_len(self.size()).unwrap();
        let file = file.to_str().unwrap();
        match self {
            // Blocks as on a disk of any size, with the smallest journal, and nothing left to do later.
            Self::Ext4 { .. } => {
                let later = "nodiscard,lazy_itable_init=0,lazy_journal_init=0";
                run("mkfs.ext4", ["-q", "-F", "-b", "4096", "-J", "size=4", "-E", later, file]);
            }
            Self::Xfs => {
                run("mkfs.xfs", ["-q", "-f", "-K", file]);
            }
        }
    }

    /// The command that looks for damage to the file system itself, without repairing.
    pub(crate) fn checker(self) -> &'static str {
        match self {
            Self::Ext4 { .. } => "e2fsck -fn",
            Self::Xfs => "xfs_repair -nf",
        }
    }
}
