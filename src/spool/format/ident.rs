//! `spool.id`: which spool a directory is.

use super::{Fault, check_plain, get, get_id, layout, put, put_id, seal_plain};

const MAGIC: &[u8; 8] = b"TGATESPL";

layout! {
    /// Fields of `spool.id`.
    ident: 64 bytes {
        MAGIC: 0, 8;
        VERSION: 8, 2;
        RESERVED: 10, 6;
        FEATURES: 16, 8;
        SPOOL_ID: 24, 16;
        CREATED: 40, 8;
        RESERVED_2: 48, 12;
        CRC: 60, 4;
    }
}

/// The contents of `spool.id`.
pub(crate) fn encode(spool_id: u128, created: u64) -> [u8; ident::LEN] {
    let mut b = [0; ident::LEN];
    b[ident::MAGIC].copy_from_slice(MAGIC);
    put(&mut b, ident::VERSION, u64::from(super::VERSION));
    put_id(&mut b, ident::SPOOL_ID, spool_id);
    put(&mut b, ident::CREATED, created);
    seal_plain(&mut b);
    b
}

/// The spool's id.
pub(crate) fn decode(bytes: &[u8]) -> Result<u128, Fault> {
    let b = bytes.get(..ident::LEN).ok_or(Fault::Short)?;
    let version = get(b, ident::VERSION) as u16;
    check_plain(b, MAGIC, version, get(b, ident::FEATURES))?;
    Ok(get_id(b, ident::SPOOL_ID))
}
