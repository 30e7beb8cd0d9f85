//! Whether a frame answers one of our probes.

use std::net::IpAddr;

use super::{ParsedFrame, TcpFlags};
use crate::cookie::Cookie;

/// How a probe was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WireReply {
    /// SYN-ACK: open.
    SynAck,
    /// RST: closed.
    Rst,
    /// ICMP: forbidden by policy.
    Prohibited,
}

/// What is odd about a SYN-ACK. Every stack that can carry data announces its segment size and some
/// window (RFC 9293, sections 3.7.1 and 3.8.6); what answers for others often does neither.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct SynAckSigns {
    /// The window is 0: nothing may be sent.
    pub zero_window: bool,
    /// There are no options at all, although ours were there to be answered.
    pub no_options: bool,
}

impl SynAckSigns {
    /// Whether anything is odd.
    #[must_use]
    pub const fn any(self) -> bool {
        self.zero_window || self.no_options
    }
}

/// An answer to one of our probes, its cookie verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClassifiedFrame {
    /// The probed address.
    pub ip: IpAddr,
    /// The probed port.
    pub port: u16,
    /// Which attempt, from 1.
    pub attempt: u8,
    /// How.
    pub reply: WireReply,
    /// Time to live on arrival, if the host itself answered.
    pub ttl: Option<u8>,
    /// What is odd about a SYN-ACK; nothing for other replies.
    pub signs: SynAckSigns,
}

/// Classifies a frame. `first_port` is the source port of attempt 1, `ports` their number.
///
/// An answer is ours when it acknowledges exactly our sequence number plus one (RFC 9293, section
/// 3.10.7: a closed port's RST does so too), or when an ICMP error quotes the very number. A bare RST
/// without ACK acknowledges nothing and could have been made by anybody, so it is none. Neither is
/// an ICMP error of another kind than "prohibited": it tells of the way, not of the port.
#[must_use]
pub fn classify(
    cookie: &Cookie,
    parsed: &ParsedFrame,
    first_port: u16,
    ports: u8,
) -> Option<ClassifiedFrame> {
    let attempt = |source_port: u16| {
        let n = source_port.checked_sub(first_port)?;
        (n < u16::from(ports)).then(|| u8::try_from(n + 1).ok()).flatten()
    };
    match parsed {
        ParsedFrame::Tcp(t) => {
            let attempt = attempt(t.destination_port)?;
            let sent = cookie.sequence(t.destination, t.destination_port, t.source, t.source_port);
            if !t.flags.has(TcpFlags::ACK) || t.acknowledgement != sent.wrapping_add(1) {
                return None;
            }
            let reply = if t.flags.has(TcpFlags::RST) {
                WireReply::Rst
            } else if t.flags.has(TcpFlags::SYN) {
                WireReply::SynAck
            } else {
                return None;
            };
            let signs = match reply {
                WireReply::SynAck => {
                    SynAckSigns { zero_window: t.window == 0, no_options: t.options_len == 0 }
                }
                _ => SynAckSigns::default(),
            };
            let (ip, port, ttl) = (t.source, t.source_port, Some(t.ttl));
            Some(ClassifiedFrame { ip, port, attempt, reply, ttl, signs })
        }
        ParsedFrame::IcmpError(e) => {
            let attempt = attempt(e.source_port)?;
            let sent = cookie.sequence(e.source, e.source_port, e.destination, e.destination_port);
            (e.prohibited && e.sequence == sent).then_some(ClassifiedFrame {
                ip: e.destination,
                port: e.destination_port,
                attempt,
                reply: WireReply::Prohibited,
                ttl: (e.from == e.destination).then_some(e.ttl),
                signs: SynAckSigns::default(),
            })
        }
        ParsedFrame::Arp(_) | ParsedFrame::Neighbour(_) => None,
    }
}
