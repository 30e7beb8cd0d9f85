//! The lab as the benchmarks want it.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use mimawari_rawio::InterfaceFacts;
use mimawari_tests::lab::{CENTRE_V4, Lab, SCANNER_V4, Truth, enter, host};
use socket2::{Domain, Socket, Type};

/// First of the ports that are scanned.
const FIRST_PORT: u16 = 2001;
/// First argument of the binary when it is to keep a core busy.
const BUSY: &str = "__busy";

/// A lab with its ground truth, everything that is open being listened on.
pub struct Stage {
    /// The namespaces.
    pub lab: Lab,
    /// What is open.
    pub truth: Truth,
    /// Number of addresses.
    pub hosts: u32,
    /// The ports.
    pub ports: Vec<u16>,
    /// Ethernet address of the gateway, the data centre's end of the link.
    pub gateway: [u8; 6],
}

impl Stage {
    /// Builds it. `hosts` addresses from 198.19.0.0 on (a power of two), `ports` ports, `open` open
    /// cells.
    ///
    /// # Errors
    /// When the link's end cannot be read.
    pub fn build(hosts: u32, ports: u16, truth: impl FnOnce(&[u16]) -> Truth) -> Result<Self> {
        let ports: Vec<u16> = (FIRST_PORT..FIRST_PORT + ports).collect();
        let lab = Lab::new();
        let truth = truth(&ports);
        truth.install(&lab);
        for port in &ports {
            listen(&lab, *port).with_context(|| format!("listening on port {port}"))?;
        }
        murmur(&lab)?;
        let gateway =
            lab.centre.run(|| InterfaceFacts::by_name("v1")).context("the link's far end")?;
        let gateway = gateway.mac.context("the link's far end has no address")?;
        Ok(Self { lab, truth, hosts, ports, gateway })
    }

    /// The prefix of the first `hosts` addresses.
    #[must_use]
    pub fn prefix(&self, hosts: u32) -> String {
        format!("{}/{}", host(0), 32 - hosts.trailing_zeros())
    }

    /// The ports, with commas.
    #[must_use]
    pub fn port_list(&self) -> String {
        self.ports.iter().map(u16::to_string).collect::<Vec<_>>().join(",")
    }

    /// Open cells of the first `hosts` addresses.
    pub fn open_in(&self, hosts: u32) -> impl Iterator<Item = (Ipv4Addr, u16)> + '_ {
        let end = host(0).to_bits() + hosts;
        self.truth.open.iter().copied().filter(move |(ip, _)| ip.to_bits() < end)
    }

    /// Packets that have reached the data centre.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn received(&self) -> Result<u64> {
        received(&self.lab)
    }
}

/// Enters namespaces of its own, runs a program there and prints its error.
#[must_use]
pub fn in_namespaces(run: impl FnOnce() -> Result<()>) -> ExitCode {
    if let Err(e) = enter() {
        eprintln!("the lab cannot be built: {e}");
        return ExitCode::FAILURE;
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e:#}");
            ExitCode::FAILURE
        }
    }
}

/// Packets that have reached the data centre of a lab.
///
/// # Errors
/// When the kernel does not say.
pub fn received(lab: &Lab) -> Result<u64> {
    // /proc/net is the process's own; the thread has entered another namespace.
    let text = lab.centre.run(|| std::fs::read_to_string("/proc/thread-self/net/dev"))?;
    text.lines()
        .find_map(|l| l.trim().strip_prefix("v1:")?.split_whitespace().nth(1)?.parse().ok())
        .context("no counter of v1")
}

/// Sends a datagram to the scanner's end ten times a second. masscan 1.3.2 waits for packets without a
/// timeout, and would never end on a link as quiet as this one.
fn murmur(lab: &Lab) -> Result<()> {
    let socket = lab.centre.run(|| UdpSocket::bind((CENTRE_V4, 0)))?;
    std::thread::Builder::new().stack_size(64 << 10).spawn(move || {
        loop {
            // Nobody listens there; that the kernel says so is no matter.
            let _ = socket.send_to(b".", (SCANNER_V4, 9));
            std::thread::sleep(Duration::from_millis(100));
        }
    })?;
    Ok(())
}

/// Accepts, greets and closes, for ever. The backlog is as large as the kernel allows, so that a burst
/// finds room.
fn listen(lab: &Lab, port: u16) -> Result<()> {
    let listener: TcpListener = lab.centre.run(|| -> std::io::Result<TcpListener> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)).into())?;
        socket.listen(65_535)?;
        Ok(socket.into())
    })?;
    std::thread::Builder::new().stack_size(64 << 10).spawn(move || {
        for connection in listener.incoming() {
            // A client that has gone already is no matter.
            let _ = connection.and_then(|mut c| c.write_all(b"220 ready\r\n"));
        }
    })?;
    Ok(())
}

/// One busy process for each core; they end when this is dropped.
pub struct Busy(Vec<Child>);

impl Busy {
    /// Starts them.
    ///
    /// # Errors
    /// When they cannot be started.
    pub fn start() -> Result<Self> {
        let cores = std::thread::available_parallelism()?.get();
        let mut busy = Self(Vec::new());
        for _ in 0..cores {
            let child = Command::new(std::env::current_exe()?)
                .arg(BUSY)
                .stdin(Stdio::null())
                .spawn()
                .context("starting a busy process")?;
            busy.0.push(child);
        }
        Ok(busy)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The busy process; `None` when the arguments do not ask for it.
#[must_use]
pub fn busy_if_asked() -> Option<ExitCode> {
    if std::env::args_os().nth(1)? != BUSY {
        return None;
    }
    let parent = nix::unistd::getppid();
    let mut n = 0u64;
    // An orphan must not keep the machine busy for ever.
    while nix::unistd::getppid() == parent {
        for _ in 0..100_000_000u32 {
            n = std::hint::black_box(n.wrapping_mul(0x9e37_79b9_7f4a_7c15) + 1);
        }
    }
    Some(ExitCode::SUCCESS)
}
