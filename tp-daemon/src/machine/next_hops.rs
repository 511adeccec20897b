//! Next hops that are objects of their own (`ip nexthop`). Routes name them by number where the kernel is told not to
//! repeat them.

use std::collections::HashMap;

use super::attributes::{Attributes, word};
use super::kernel::Message;
use super::routes::Way;

/// `nhmsg`: family, scope, protocol, reserved, flags.
const FIXED: usize = 8;
/// `nexthop_grp`: id, weight, reserved.
const MEMBER: usize = 8;

const NHA_ID: u16 = 1;
const NHA_GROUP: u16 = 2;
const NHA_BLACKHOLE: u16 = 4;
const NHA_OIF: u16 = 5;
const NHA_GATEWAY: u16 = 6;

#[derive(Debug, Default)]
pub(super) struct Table(HashMap<u32, Object>);

#[derive(Debug)]
enum Object {
    Way(Way),
    Blackhole,
    Group(Vec<u32>),
}

pub(super) fn table(messages: &[Message]) -> Table {
    Table(messages.iter().filter_map(|message| object(&message.payload)).collect())
}

impl Table {
    /// The ways of an object; `None` for a blackhole. Of one that has gone meanwhile we know no device.
    pub(super) fn ways(&self, id: u32) -> Option<Vec<Way>> {
        match self.0.get(&id) {
            Some(Object::Way(way)) => Some(vec![*way]),
            Some(Object::Blackhole) => None,
            // groups do not nest
            Some(Object::Group(members)) => {
                let ways = members.iter().filter_map(|id| match self.0.get(id) {
                    Some(Object::Way(way)) => Some(*way),
                    _ => None,
                });
                Some(ways.collect::<Vec<_>>()).filter(|ways| !ways.is_empty())
            }
            None => Some(vec![(None, None)]),
        }
    }
}

fn object(payload: &[u8]) -> Option<(u32, Object)> {
    let attributes = Attributes::of(payload.get(FIXED..)?);
    let id = attributes.number(NHA_ID)?;
    let object = if let Some(group) = attributes.bytes(NHA_GROUP) {
        Object::Group(group.chunks_exact(MEMBER).filter_map(|member| word(member, 0)).collect())
    } else if attributes.has(NHA_BLACKHOLE) {
        Object::Blackhole
    } else {
        Object::Way((attributes.number(NHA_OIF), attributes.ip(NHA_GATEWAY)))
    };
    Some((id, object))
}
