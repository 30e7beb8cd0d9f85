//! The floor: what the kernel allows when nothing is kept, decided or repeated.
//!
//! Two threads send correct frames in batches as fast as the link takes them, one attempt a cell; a
//! third reads a ring of 16 MiB and writes down whose cookie is right.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use mimawari_probes::cookie::Cookie;
use mimawari_probes::wire::{self, LinkHeader, SynTemplate, WireReply};
use mimawari_rawio::{
    FrameSender, InterfaceFacts, LinkKind, ReceiveRing, RingConfig, SendBatch, filter,
};
use mimawari_targets::ProbeOrder;
use mimawari_tests::lab::{SCANNER_V4, host};

/// First argument of the binary when it is to be the floor.
pub const WORD: &str = "__floor";
const SOURCE_PORT: u16 = 61_000;
const SENDERS: u64 = 2;
/// How long answers are waited for behind the last probe.
const WAIT: Duration = Duration::from_secs(1);

/// The floor itself; `None` when the arguments do not ask for it.
#[must_use]
pub fn main_if_asked() -> Option<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (word, rest) = arguments.split_first()?;
    if word != WORD {
        return None;
    }
    Some(match run(rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e:#}");
            ExitCode::FAILURE
        }
    })
}

fn run(arguments: &[String]) -> Result<()> {
    let [hosts, first_port, ports, gateway] = arguments else {
        anyhow::bail!("{WORD} HOSTS FIRST_PORT PORTS GATEWAY")
    };
    let (hosts, ports): (u64, u64) = (hosts.parse()?, ports.parse()?);
    let first_port: u16 = first_port.parse()?;
    let device = InterfaceFacts::by_name("v0").context("the link")?;
    let header = LinkHeader::Ethernet {
        source: device.mac.context("the link has no address")?,
        destination: mac(gateway).context("no Ethernet address of the gateway")?,
    };
    let cookie = Cookie::new([7; 16]);
    let config = RingConfig { block_size: 1 << 18, blocks: 64, ..RingConfig::default() };
    let filter = filter::build_reply_filter(LinkKind::Ethernet, SOURCE_PORT, SOURCE_PORT);
    let mut ring = ReceiveRing::open(&device, &filter, config).context("the ring")?;
    let order = ProbeOrder::new(hosts * ports, 0x5eed);
    let done = AtomicBool::new(false);
    let begun = Instant::now();
    let (open, refused, sending) = std::thread::scope(|scope| -> Result<_> {
        let receiving = scope.spawn(|| receive(&mut ring, &cookie, &done));
        let senders: Vec<_> = (0..SENDERS)
            .map(|i| {
                let sender = FrameSender::packet(&device).context("a packet socket");
                let (order, cookie) = (&order, &cookie);
                let template = SynTemplate::new(header, SCANNER_V4.into());
                scope.spawn(move || {
                    let cells = (i..order.len()).step_by(SENDERS as usize).map(|p| {
                        let n = order.at(p);
                        let port = first_port + (n % ports) as u16;
                        (host((n / ports) as u32), port)
                    });
                    Ok::<_, anyhow::Error>(send(&mut sender?, template, cookie, cells))
                })
            })
            .collect();
        let mut refused = 0;
        for sender in senders {
            refused += sender.join().map_err(|_| anyhow::anyhow!("a sender died"))??;
        }
        let sending = begun.elapsed();
        std::thread::sleep(WAIT);
        done.store(true, Ordering::Release);
        let open = receiving.join().map_err(|_| anyhow::anyhow!("the receiver died"))??;
        Ok((open, refused, sending))
    })?;
    let lost = ring.statistics()?.drops;
    let mut text = String::new();
    for (ip, port) in open {
        let _ = writeln!(text, "{ip},{port}");
    }
    std::fs::write("found", text).context("writing what was found")?;
    println!(
        "{:.0} kpps while sending, {refused} sends refused and repeated, {lost} lost in the ring",
        (hosts * ports) as f64 / sending.as_secs_f64() / 1e3
    );
    Ok(())
}

fn mac(text: &str) -> Option<[u8; 6]> {
    let bytes: Vec<u8> =
        text.split(':').map(|b| u8::from_str_radix(b, 16)).collect::<Result<_, _>>().ok()?;
    bytes.try_into().ok()
}

/// Sends a probe to each cell and returns how often the kernel refused a frame.
fn send(
    sender: &mut FrameSender,
    mut template: SynTemplate,
    cookie: &Cookie,
    mut cells: impl Iterator<Item = (Ipv4Addr, u16)>,
) -> u64 {
    let source = IpAddr::from(SCANNER_V4);
    let mut batch = SendBatch::new();
    let mut refused = 0;
    let mut waiting = None;
    loop {
        batch.clear();
        while let Some((ip, port)) = waiting.take().or_else(|| cells.next()) {
            let ip = IpAddr::from(ip);
            let sequence = cookie.sequence(source, SOURCE_PORT, ip, port);
            if !batch.push(template.frame(ip, None, SOURCE_PORT, port, sequence)) {
                let IpAddr::V4(ip) = ip else { continue };
                waiting = Some((ip, port));
                break;
            }
        }
        if batch.is_empty() {
            return refused;
        }
        refused += send_all(sender, &mut batch);
    }
}

/// Sends a whole batch, trying again what the kernel refuses, and returns how often it did.
pub fn send_all(sender: &mut FrameSender, batch: &mut SendBatch) -> u64 {
    let mut refused = 0;
    loop {
        let outcome = sender.send(batch);
        if outcome.sent == batch.len() {
            return refused;
        }
        refused += 1;
        let mut rest = SendBatch::new();
        for frame in batch.iter().skip(outcome.sent) {
            rest.push(frame);
        }
        *batch = rest;
        std::thread::sleep(Duration::from_micros(50));
    }
}

fn receive(
    ring: &mut ReceiveRing,
    cookie: &Cookie,
    done: &AtomicBool,
) -> std::io::Result<BTreeSet<(IpAddr, u16)>> {
    let mut open = BTreeSet::new();
    loop {
        let last = done.load(Ordering::Acquire);
        let n = ring.receive(Duration::from_millis(100), &mut |frame| {
            let answer = wire::parse(wire::LinkKind::Ethernet, frame)
                .and_then(|p| wire::classify(cookie, &p, SOURCE_PORT, 1));
            if let Some(a) = answer.filter(|a| a.reply == WireReply::SynAck) {
                open.insert((a.ip, a.port));
            }
        })?;
        if last && n == 0 {
            return Ok(open);
        }
    }
}
