//! Asking for the Ethernet addresses of next hops before anything else is sent (RFC 826, RFC 4861).
//!
//! The sweep itself asks while it sends, from its own loop; who has nothing else to do meanwhile waits
//! here.

use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use mimawari_probes::wire::{self, ParsedFrame};

use super::link::{PacketLink, ReceiveSetup, SolicitedNeighbour};
use super::neighbour::{NeighbourKey, NeighbourStep, NeighbourTable};

/// How long one link is listened to where there are several.
const A_TURN: Duration = Duration::from_millis(5);

/// Asks for whom the table wants to know, until each has answered or proved silent, or `patience` is
/// over. Returns those who are silent.
///
/// # Errors
/// When receiving fails.
pub(super) fn ask_all<T>(
    table: &mut NeighbourTable<T>,
    links: &mut [PacketLink],
    receiving: &mut [ReceiveSetup],
    patience: Duration,
) -> io::Result<Vec<NeighbourKey>> {
    let mut silent = Vec::new();
    let begun = Instant::now();
    while table.is_asking() && begun.elapsed() < patience {
        while let Some(step) = table.poll(begun.elapsed()) {
            match step {
                // A send that fails is a try that nobody answers.
                NeighbourStep::Solicit((link, ip)) => {
                    if !matches!(links[link].solicit(ip), Ok(SolicitedNeighbour::Sent)) {
                        tracing::debug!(neighbour = %ip, "the solicitation was not sent");
                    }
                }
                NeighbourStep::Unreachable(key, _) => silent.push(key),
                NeighbourStep::Fallback(key, _, _) => {
                    tracing::debug!(neighbour = %key.1, "no answer; the kernel's last known address is used");
                }
            }
        }
        let Some(at) = table.poll_timeout() else { break };
        let mut left = at.min(patience).saturating_sub(begun.elapsed());
        if table.is_asking() && receiving.len() > 1 {
            // The links take turns.
            left = left.min(A_TURN);
        }
        let mut heard = Vec::new();
        for r in receiving.iter_mut() {
            let (kind, link) = (r.kind, r.link);
            r.ring.receive(left, &mut |frame| match wire::parse(kind, frame) {
                Some(ParsedFrame::Arp(a)) => heard.push(((link, IpAddr::V4(a.ip)), a.mac)),
                Some(ParsedFrame::Neighbour(n)) => heard.push(((link, IpAddr::V6(n.ip)), n.mac)),
                _ => {}
            })?;
        }
        for (key, mac) in heard {
            table.learn(key, mac);
        }
    }
    Ok(silent)
}
