//! Stage 1, identify: who asks.
//!
//! Until identity providers exist there are two: whoever may open the data directory's socket, and
//! anonymous, of whom only the address is known.

use crate::ask::Peer;
use policy::Principal;
use std::net::{IpAddr, Ipv6Addr};

pub(crate) fn identify(peer: &Peer) -> Principal {
    if peer.is_operator {
        return Principal::operator();
    }
    // An address that is not known lies in no network anybody would allow.
    let address = peer.address.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
    Principal::anonymous(address, peer.is_loopback && peer.address.is_some())
}
