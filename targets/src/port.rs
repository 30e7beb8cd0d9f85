//! Ports, port sets and their text form.

use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::text::to_message_text;

/// Transport protocol of a cell.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP (RFC 9293). Meant where no protocol is written.
    #[default]
    Tcp,
    /// UDP (RFC 768).
    Udp,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Tcp, Self::Udp];

    /// Whether ports of the protocol are scanned.
    #[must_use]
    pub const fn is_scanned(self) -> bool {
        matches!(self, Self::Tcp)
    }

    /// Whether it is the one that is meant where none is written.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The other one of the two that have ports here.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Tcp => Self::Udp,
            Self::Udp => Self::Tcp,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// A text that names no protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write `tcp` or `udp`")]
pub struct ProtocolError;

impl FromStr for Protocol {
    type Err = ProtocolError;

    fn from_str(s: &str) -> Result<Self, ProtocolError> {
        match s {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            _ => Err(ProtocolError),
        }
    }
}

/// A port number, 1–65535. Port 0 is reserved (RFC 6335, section 6) and cannot be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Port(NonZeroU16);

impl Port {
    /// The port, or `None` for 0.
    #[must_use]
    pub const fn new(port: u16) -> Option<Self> {
        match NonZeroU16::new(port) {
            Some(p) => Some(Self(p)),
            None => None,
        }
    }

    /// The number, 1–65535.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Port {
    type Err = PortError;

    fn from_str(s: &str) -> Result<Self, PortError> {
        // `u16::from_str` takes a leading plus sign; a port list does not.
        if s.is_empty() || !s.bytes().all(|b| b.is_ascii_digit()) {
            return Err(PortError::NotAPort(to_message_text(s)));
        }
        let port = s
            .parse::<u16>()
            .ok()
            .and_then(Self::new)
            .ok_or_else(|| PortError::OutOfRange(to_message_text(s)))?;
        if s.starts_with('0') {
            return Err(PortError::LeadingZeros { text: to_message_text(s), port });
        }
        Ok(port)
    }
}

/// Why a port list was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// An item is neither a number nor a range nor a known list name.
    #[error(
        "`{0}` is not a port; write a number, a range such as 8000-8100, or top100, top1000, all"
    )]
    NotAPort(String),
    /// A number outside 1–65535.
    #[error("port `{0}` is out of range; ports go from 1 to 65535")]
    OutOfRange(String),
    /// A number with leading zeros, which some programs read as octal.
    #[error("port `{text}` has leading zeros; write `{port}`")]
    LeadingZeros {
        /// As written.
        text: String,
        /// The number in decimal.
        port: Port,
    },
    /// Two commas with nothing between them, or one at an end.
    #[error("the port list has an empty item; remove the extra comma")]
    EmptyItem,
    /// A range whose end is below its start.
    #[error("port range `{first}-{last}` is inverted; write `{last}-{first}`")]
    Inverted {
        /// As written, first.
        first: u16,
        /// As written, last.
        last: u16,
    },
    /// Two items share a port.
    #[error("`{second}` overlaps `{first}`; list each port once")]
    Overlap {
        /// The earlier item.
        first: String,
        /// The later item.
        second: String,
    },
    /// Nothing in the list.
    #[error("the port list is empty; name at least one port, such as 22,80,443")]
    Empty,
}

/// A set of ports as sorted, disjoint, non-adjacent inclusive ranges.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PortSet {
    ranges: Vec<(u16, u16)>,
    /// `before[i]` = number of ports in the ranges before the i-th.
    before: Vec<u32>,
    len: u32,
}

impl PortSet {
    /// The set of the given inclusive ranges; overlapping and adjacent ones are joined.
    /// Port 0 is left out.
    #[must_use]
    pub fn from_ranges(ranges: impl IntoIterator<Item = (u16, u16)>) -> Self {
        let mut r: Vec<(u16, u16)> =
            ranges.into_iter().map(|(a, b)| (a.max(1), b)).filter(|(a, b)| a <= b).collect();
        r.sort_unstable();
        let mut out: Vec<(u16, u16)> = Vec::with_capacity(r.len());
        for (a, b) in r {
            match out.last_mut() {
                Some(last) if u32::from(a) <= u32::from(last.1) + 1 => last.1 = last.1.max(b),
                _ => out.push((a, b)),
            }
        }
        let mut before = Vec::with_capacity(out.len());
        let mut len = 0u32;
        for (a, b) in &out {
            before.push(len);
            len += u32::from(b - a) + 1;
        }
        Self { ranges: out, before, len }
    }

    /// Every port, 1–65535.
    #[must_use]
    pub fn all() -> Self {
        Self::from_ranges([(1, u16::MAX)])
    }

    /// How many ports.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The ranges, sorted and disjoint, both ends included.
    #[must_use]
    pub fn ranges(&self) -> &[(u16, u16)] {
        &self.ranges
    }

    /// The n-th port in numeric order, counted from 0.
    #[must_use]
    pub fn nth(&self, n: u32) -> Option<Port> {
        if n >= self.len {
            return None;
        }
        let i = self.before.partition_point(|b| *b <= n) - 1;
        let offset = u16::try_from(n - self.before[i]).ok()?;
        Port::new(self.ranges[i].0 + offset)
    }

    /// The place of a port in numeric order, counted from 0.
    #[must_use]
    pub fn index_of(&self, port: Port) -> Option<u32> {
        let p = port.get();
        let i = self.ranges.partition_point(|(a, _)| *a <= p).checked_sub(1)?;
        let (a, b) = self.ranges[i];
        (p <= b).then(|| self.before[i] + u32::from(p - a))
    }

    /// Whether the port is in the set.
    #[must_use]
    pub fn contains(&self, port: Port) -> bool {
        self.index_of(port).is_some()
    }

    /// The ports in numeric order.
    pub fn iter(&self) -> impl Iterator<Item = Port> + '_ {
        self.ranges.iter().flat_map(|(a, b)| (*a..=*b).filter_map(Port::new))
    }
}

impl fmt::Display for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (a, b)) in self.ranges.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            if a == b { write!(f, "{a}")? } else { write!(f, "{a}-{b}")? }
        }
        Ok(())
    }
}

impl FromStr for PortSet {
    type Err = PortError;

    /// `22,80,443,8000-8100`, or a named list on its own or among others: `top100`, `top1000`, `all`.
    fn from_str(s: &str) -> Result<Self, PortError> {
        let mut seen: Vec<(u16, u16)> = Vec::new();
        // Which item has claimed a port, counted from 1. Each port is claimed once or the list is
        // refused, so the work is bounded by the ports and not by the square of the items.
        let mut claims: Vec<usize> = vec![0; 1 << 16];
        let mut items: Vec<&str> = Vec::new();
        let (mut all, mut top_100, mut top_1000) = (false, false, false);
        for item in s.split(',').map(str::trim) {
            if item.is_empty() {
                if s.trim().is_empty() {
                    return Err(PortError::Empty);
                }
                return Err(PortError::EmptyItem);
            }
            match item {
                "all" => all = true,
                "top100" => top_100 = true,
                "top1000" => top_1000 = true,
                _ => {
                    let (a, b) = match item.split_once('-') {
                        Some((a, b)) => {
                            if a.trim().is_empty() || b.trim().is_empty() {
                                return Err(PortError::NotAPort(to_message_text(item)));
                            }
                            let (a, b) =
                                (Port::from_str(a.trim())?.get(), Port::from_str(b.trim())?.get());
                            if a > b {
                                return Err(PortError::Inverted { first: a, last: b });
                            }
                            (a, b)
                        }
                        None => {
                            let p = Port::from_str(item)?.get();
                            (p, p)
                        }
                    };
                    items.push(item);
                    for claim in &mut claims[usize::from(a)..=usize::from(b)] {
                        if let Some(first) = claim.checked_sub(1) {
                            return Err(PortError::Overlap {
                                first: to_message_text(items[first]),
                                second: to_message_text(item),
                            });
                        }
                        *claim = items.len();
                    }
                    seen.push((a, b));
                }
            }
        }
        if all {
            return Ok(Self::all());
        }
        if top_100 {
            seen.extend(TOP_100.iter().map(|p| (*p, *p)));
        }
        if top_1000 {
            seen.extend_from_slice(TOP_1000);
        }
        Ok(Self::from_ranges(seen))
    }
}

impl Serialize for PortSet {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PortSet {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let s = String::deserialize(d)?;
        s.parse().map_err(serde::de::Error::custom)
    }
}

/// The hundred TCP ports that a hosting company most often finds open by accident: remote access,
/// mail, web and its side doors, databases, caches, queues, orchestrators, panels.
const TOP_100: [u16; 100] = [
    20, 21, 22, 23, 25, 53, 79, 80, 81, 82, 88, 110, 111, 113, 119, 135, 139, 143, 179, 199, 389,
    443, 445, 465, 502, 512, 513, 514, 515, 548, 554, 587, 623, 631, 636, 873, 990, 993, 995, 1080,
    1099, 1433, 1521, 1723, 1883, 2049, 2082, 2083, 2086, 2087, 2181, 2222, 2375, 2376, 2379, 2380,
    3000, 3128, 3268, 3306, 3389, 4369, 4443, 5000, 5060, 5432, 5601, 5672, 5900, 5984, 5985, 6379,
    6443, 7001, 8000, 8006, 8008, 8080, 8081, 8086, 8088, 8161, 8443, 8500, 8888, 9000, 9042, 9090,
    9092, 9100, 9200, 9300, 9418, 10000, 10250, 11211, 15672, 25565, 27017, 50000,
];

/// `top1000`: exactly 1,000 TCP ports on which a service is known to listen: the hundred, the system
/// ports that carry TCP services, remote access, panels, databases, queues, orchestrators, the
/// alternates of all of them, devices and industrial control, and the ports of well-known back
/// doors. Chosen by what harm an open one may do, not by how often one is seen.
#[rustfmt::skip]
const TOP_1000: &[(u16, u16)] = &[
    // Early services: echo to finger, mail, name services, TACACS, Gopher.
    (1, 1), (7, 7), (9, 9), (11, 11), (13, 13), (15, 15), (17, 23), (25, 26), (37, 37), (42, 43),
    (49, 49), (53, 53), (66, 66), (69, 70), (79, 79),
    // The web and its neighbours, and Kerberos among them.
    (80, 90),
    // ISO transport and DICOM, POP, portmapper, ident, old SFTP, news, NTP.
    (98, 98), (102, 102), (104, 104), (106, 106), (109, 111), (113, 113), (115, 115), (117, 119),
    (123, 123),
    // Windows RPC and NetBIOS, IMAP, SQL gateways, SNMP, XDMCP, BGP, IRC, SMUX.
    (135, 135), (137, 139), (143, 143), (150, 150), (156, 156), (161, 164), (177, 177), (179, 179),
    (194, 194), (199, 199),
    // Mail queues, Z39.50, IMAP 3, second SSH, firewall management, HTTP management, administration.
    (209, 210), (220, 220), (222, 222), (256, 259), (264, 264), (280, 280), (311, 311),
    // ODMR, LDAP, UPS, Timbuktu, Direct Connect, service location.
    (366, 366), (369, 369), (383, 383), (389, 389), (401, 401), (407, 407), (411, 412), (427, 427),
    (433, 433),
    // HTTPS, SMB, paging, DDM, kpasswd, submissions, backup, ISAKMP, Modbus.
    (443, 448), (464, 465), (475, 475), (497, 497), (500, 500), (502, 502),
    // The r-services, printing, DB2 administration, NetWare, UUCP, FortiGate, klogin, AFP, RTSP.
    (512, 515), (520, 520), (523, 524), (530, 530), (540, 541), (543, 544), (548, 548), (554, 554),
    (556, 556), (563, 563),
    // Submission, FileMaker, RPC over HTTP, syslog, IPMI and AMT, IPP, LDAPS, MSDP, LDP, tinc.
    (587, 587), (591, 591), (593, 593), (601, 601), (617, 617), (623, 623), (625, 625), (631, 631),
    (636, 636), (639, 639), (646, 647), (655, 655), (664, 664), (666, 666),
    // ACAP, clusters, registry protocols, AgentX, Kerberos administration, spamd.
    (694, 694), (700, 700), (702, 702), (705, 705), (749, 751), (754, 754), (783, 783),
    // HTTP alternates, NETCONF, Flash policies, DNS over TLS, iSCSI, rsync, VMware, rndc, TLS twins.
    (800, 801), (808, 808), (830, 833), (843, 843), (847, 847), (853, 853), (860, 862), (873, 873),
    (888, 888), (901, 903), (953, 953), (989, 995), (999, 1000),
    // Old dynamic RPC ports of Windows, SOCKS, Java RMI, WebObjects.
    (1024, 1030), (1080, 1081), (1089, 1091), (1098, 1100),
    // Tripwire, OpenVPN, file sharing, Nessus, QNX, Dell, Lotus Notes, Citrix, IBM MQ.
    (1169, 1169), (1194, 1194), (1198, 1198), (1214, 1214), (1234, 1234), (1241, 1241),
    (1270, 1270), (1311, 1311), (1344, 1344), (1352, 1352), (1414, 1417),
    // SQL Server, Citrix, building control, WINS, Oracle, Ingres, Sybase, licences, PPTP, H.323, RADIUS.
    (1433, 1434), (1494, 1494), (1500, 1503), (1512, 1512), (1521, 1529), (1533, 1533),
    (1541, 1541), (1556, 1556), (1583, 1583), (1604, 1605), (1645, 1646), (1666, 1666),
    (1680, 1680), (1688, 1688), (1700, 1701), (1718, 1720), (1723, 1723), (1755, 1755),
    (1801, 1801), (1812, 1813), (1830, 1830), (1863, 1863), (1883, 1883), (1900, 1901),
    (1911, 1911), (1935, 1935), (1962, 1962), (1967, 1967), (1984, 1985), (1998, 2003),
    // NFS, panels, ZooKeeper, second SSH and FTP, EtherNet/IP, device consoles.
    (2020, 2020), (2022, 2022), (2030, 2030), (2049, 2049), (2053, 2053), (2077, 2080),
    (2082, 2083), (2086, 2087), (2095, 2096), (2100, 2100), (2103, 2103), (2105, 2105),
    (2107, 2107), (2111, 2111), (2121, 2121), (2181, 2183), (2200, 2200), (2210, 2210),
    (2220, 2224), (2301, 2301), (2323, 2323), (2345, 2345), (2351, 2351),
    // Docker, etcd, licences, databases, gateways, routing daemons, CORBA.
    (2375, 2381), (2383, 2383), (2393, 2394), (2399, 2399), (2401, 2401), (2404, 2404),
    (2424, 2424), (2433, 2433), (2447, 2447), (2480, 2484), (2500, 2500), (2525, 2525),
    (2598, 2598), (2600, 2605), (2628, 2628), (2638, 2638), (2701, 2702), (2725, 2725),
    (2809, 2809), (2869, 2869), (2947, 2947), (2967, 2967),
    // Development servers, proxies, iSCSI, Global Catalog, MySQL and its kin, RDP, SAP, Subversion.
    (3000, 3010), (3030, 3030), (3050, 3052), (3071, 3071), (3100, 3100), (3128, 3130),
    (3200, 3201), (3220, 3220), (3260, 3260), (3268, 3269), (3283, 3283), (3299, 3301),
    (3306, 3310), (3333, 3333), (3389, 3391), (3443, 3443), (3478, 3478), (3493, 3493),
    (3500, 3500), (3541, 3541), (3600, 3600), (3632, 3632), (3659, 3659), (3689, 3690),
    (3702, 3702), (3780, 3780), (3790, 3790), (3868, 3868), (3888, 3888), (3899, 3899),
    (3986, 3986),
    // Development servers, SaltStack, EPMD, NATS, clusters, eDonkey, OPC UA, GlassFish, remote control.
    (4000, 4003), (4022, 4022), (4040, 4040), (4125, 4125), (4190, 4190), (4200, 4200),
    (4222, 4222), (4242, 4244), (4321, 4321), (4333, 4333), (4369, 4369), (4430, 4430),
    (4433, 4433), (4440, 4440), (4443, 4447), (4460, 4460), (4500, 4500), (4505, 4506),
    (4567, 4569), (4646, 4648), (4662, 4662), (4711, 4711), (4730, 4730), (4750, 4750),
    (4786, 4786), (4840, 4840), (4843, 4843), (4848, 4848), (4899, 4899), (4911, 4911),
    (4949, 4949),
    // UPnP, registries, SIP, BMC, VoIP, XMPP, ADB, mDNS, WSD, PostgreSQL.
    (5000, 5010), (5022, 5022), (5037, 5037), (5040, 5040), (5044, 5044), (5050, 5051),
    (5060, 5061), (5080, 5080), (5084, 5084), (5093, 5093), (5190, 5190), (5201, 5201),
    (5222, 5223), (5269, 5270), (5280, 5281), (5353, 5353), (5357, 5358), (5400, 5400),
    (5405, 5405), (5431, 5434), (5443, 5443), (5480, 5480),
    // VNC, Kibana, pcAnywhere, Nagios, AMQP, CoAP, MikroTik, backup, WinRM, CouchDB, X11.
    (5500, 5501), (5550, 5550), (5554, 5556), (5560, 5560), (5577, 5577), (5601, 5601),
    (5631, 5632), (5650, 5650), (5655, 5655), (5665, 5667), (5671, 5672), (5678, 5678),
    (5683, 5684), (5693, 5693), (5701, 5701), (5722, 5722), (5757, 5757), (5800, 5803),
    (5858, 5858), (5900, 5906), (5938, 5938), (5984, 5986), (5988, 5989), (6000, 6005),
    // GlusterFS's and Gnutella's kin, Redis, APIs of clusters, IRC, backup agents, BitTorrent.
    (6066, 6066), (6080, 6080), (6082, 6082), (6101, 6101), (6106, 6106), (6112, 6112),
    (6123, 6123), (6129, 6129), (6160, 6160), (6262, 6262), (6346, 6347), (6379, 6380),
    (6389, 6389), (6443, 6444), (6481, 6481), (6500, 6500), (6514, 6514), (6543, 6543),
    (6556, 6556), (6566, 6566), (6600, 6600), (6633, 6633), (6653, 6653), (6660, 6669),
    (6697, 6697), (6789, 6789), (6800, 6800), (6881, 6881), (6969, 6969),
    // WebLogic, AFS, Cassandra, storage, Neo4j, TR-069, IBM, media and game servers.
    (7000, 7010), (7050, 7051), (7070, 7071), (7077, 7078), (7080, 7081), (7100, 7100),
    (7180, 7180), (7199, 7201), (7210, 7210), (7443, 7443), (7473, 7474), (7480, 7480),
    (7496, 7496), (7510, 7510), (7547, 7547), (7574, 7574), (7634, 7634), (7676, 7676),
    (7687, 7687), (7700, 7700), (7777, 7778), (7788, 7788), (7860, 7860), (7890, 7890),
    (7946, 7946), (7990, 7990), (7999, 7999),
    // The web's second home: application servers, proxies, panels, InfluxDB, Jenkins, Vault.
    (8000, 8020), (8022, 8023), (8025, 8025), (8028, 8032), (8040, 8044), (8047, 8047),
    (8050, 8050), (8055, 8055), (8060, 8061), (8065, 8065), (8069, 8070), (8075, 8075),
    (8080, 8100), (8111, 8112), (8118, 8118), (8123, 8123), (8125, 8126), (8139, 8140),
    (8153, 8153), (8161, 8161), (8172, 8172), (8180, 8184), (8188, 8188), (8191, 8191),
    (8194, 8194), (8200, 8201), (8222, 8222), (8243, 8243), (8280, 8281), (8291, 8291),
    (8300, 8302), (8333, 8333), (8377, 8377), (8383, 8383), (8388, 8388), (8400, 8402),
    (8440, 8445), (8448, 8448), (8480, 8480), (8484, 8484), (8500, 8503), (8530, 8531),
    (8545, 8545), (8554, 8554), (8580, 8580), (8600, 8600), (8649, 8649), (8686, 8686),
    (8728, 8729), (8765, 8765), (8787, 8788), (8800, 8801), (8834, 8834), (8843, 8843),
    (8848, 8848), (8873, 8873), (8880, 8883), (8886, 8889), (8899, 8899), (8983, 8983),
    (8989, 8991), (8999, 8999),
    // FastCGI, SonarQube, Cassandra, Prometheus and exporters, Kafka, printers, Elasticsearch, Git, Hadoop.
    (9000, 9010), (9030, 9030), (9042, 9043), (9050, 9051), (9060, 9060), (9080, 9081),
    (9083, 9084), (9090, 9104), (9110, 9111), (9115, 9117), (9121, 9121), (9142, 9142),
    (9151, 9151), (9160, 9160), (9187, 9187), (9191, 9191), (9200, 9202), (9216, 9216),
    (9229, 9229), (9292, 9292), (9300, 9301), (9306, 9306), (9312, 9312), (9333, 9333),
    (9389, 9390), (9392, 9392), (9418, 9418), (9443, 9444), (9500, 9501), (9530, 9530),
    (9600, 9600), (9618, 9618), (9666, 9666), (9669, 9669), (9696, 9696), (9800, 9800),
    (9864, 9864), (9866, 9870), (9876, 9876), (9898, 9898), (9990, 9993), (9997, 10003),
    // Mail filters, Zabbix, kubelet, memcached, Graylog, NetBackup, RabbitMQ, HBase, AMT, Netdata.
    (10024, 10025), (10050, 10051), (10080, 10081), (10101, 10101), (10250, 10252), (10255, 10257),
    (10259, 10259), (10443, 10443), (11000, 11001), (11110, 11111), (11211, 11211), (11300, 11300),
    (11371, 11371), (11434, 11434), (12000, 12001), (12201, 12201), (12345, 12345), (12443, 12443),
    (13306, 13306), (13720, 13722), (13724, 13724), (13782, 13783), (14147, 14147), (15000, 15000),
    (15002, 15002), (15671, 15672), (15692, 15692), (16000, 16000), (16010, 16010), (16030, 16030),
    (16080, 16080), (16379, 16379), (16443, 16443), (16509, 16509), (16514, 16514), (16686, 16686),
    (16992, 16993), (17000, 17000), (18080, 18081), (18091, 18092), (18245, 18245), (18264, 18264),
    (18789, 18789), (19000, 19000), (19071, 19071), (19150, 19150), (19530, 19530), (19888, 19888),
    (19999, 20000),
    // Second SSH and Telnet, Dubbo, GlusterFS, games, Sentinel, MongoDB, RethinkDB, Plex, Solaris RPC.
    (20121, 20121), (20547, 20547), (20880, 20880), (22022, 22022), (22222, 22222), (23023, 23023),
    (23472, 23472), (24007, 24008), (24800, 24800), (25000, 25000), (25565, 25565), (25672, 25672),
    (26000, 26000), (26208, 26208), (26257, 26257), (26379, 26379), (26656, 26657), (27000, 27000),
    (27015, 27019), (27036, 27036), (28015, 28015), (28017, 28017), (28080, 28080), (30000, 30000),
    (30303, 30303), (30718, 30718), (31337, 31337), (32400, 32400), (32764, 32764), (32768, 32771),
    // MySQL X, cameras, PROFINET, EtherNet/IP, WinRM, dynamic RPC, SAP, HDFS, HBase, STOMP, iOS sync.
    (33060, 33060), (33389, 33389), (33848, 33848), (33899, 33899), (34567, 34567), (34962, 34964),
    (35357, 35357), (37777, 37777), (40000, 40000), (41121, 41121), (44334, 44334), (44818, 44818),
    (47001, 47001), (47808, 47808), (48899, 48899), (49152, 49160), (50000, 50003), (50010, 50010),
    (50013, 50013), (50020, 50020), (50030, 50030), (50050, 50050), (50060, 50060), (50070, 50070),
    (50075, 50075), (50090, 50090), (50100, 50100), (50389, 50389), (50500, 50500), (51413, 51413),
    (54321, 54321), (54345, 54345), (55443, 55443), (55553, 55553), (60000, 60000), (60010, 60010),
    (60030, 60030), (61613, 61616), (62078, 62078), (63331, 63331), (64738, 64738),
];
