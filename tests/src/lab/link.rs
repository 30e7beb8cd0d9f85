//! Links, addresses and routes, by netlink.

use std::future::Future;
use std::net::IpAddr;

use rtnetlink::packet_route::route::{RouteScope, RouteType};
use rtnetlink::{Handle, LinkUnspec, LinkVeth, RouteMessageBuilder};

use super::{Behaviour, CENTRE_V4, CENTRE_V6, Namespace, SCANNER_V4, SCANNER_V6};

/// The kernel's table of addresses that are its own (`linux/rtnetlink.h`).
const RT_TABLE_LOCAL: u32 = 255;

/// Talks netlink in the calling thread's namespace.
fn netlink<R, F: Future<Output = R>>(f: impl FnOnce(Handle) -> F) -> R {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(
        async {
            let (connection, handle, _) = rtnetlink::new_connection().expect("netlink");
            let talking = tokio::spawn(connection);
            let r = f(handle).await;
            talking.abort();
            r
        },
    )
}

fn index(name: &str) -> u32 {
    nix::net::if_::if_nametoindex(name).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// Takes a link up or down.
pub(super) fn set_up(name: &str, up: bool) {
    let link = LinkUnspec::new_with_index(index(name));
    let link = if up { link.up() } else { link.down() };
    netlink(|h| async move { h.link().set(link.build()).execute().await }).expect("link state");
}

/// Joins two namespaces by a veth pair, with addresses, and routes from the first to what the
/// second answers for.
pub(super) fn join(scanner: &Namespace, centre: &Namespace) {
    let fd = centre.raw_fd();
    scanner.run(|| {
        netlink(|h| async move {
            h.link().add(LinkVeth::new("v0", "v1").build()).execute().await.expect("a veth pair");
            let peer = LinkUnspec::new_with_index(index("v1")).setns_by_fd(fd).build();
            h.link().set(peer).execute().await.expect("moving the peer");
        });
        quiet("v0");
        address("v0", SCANNER_V4.into(), 16);
        address("v0", SCANNER_V6.into(), 64);
        set_up("v0", true);
    });
    centre.run(|| {
        quiet("v1");
        address("v1", CENTRE_V4.into(), 16);
        address("v1", CENTRE_V6.into(), 64);
        set_up("v1", true);
    });
    // A router answers with ICMP where a host would stay silent.
    centre.sysctl("ipv4/ip_forward", "1");
    centre.sysctl("ipv6/conf/all/forwarding", "1");
    centre.sysctl("ipv4/icmp_ratelimit", "0");
    centre.sysctl("ipv6/icmp/ratelimit", "0");
    // The servers must not lose SYNs on their own.
    centre.sysctl("ipv4/tcp_max_syn_backlog", "65536");
    centre.sysctl("core/somaxconn", "65535");
    centre.sysctl("ipv4/tcp_syncookies", "0");
    scanner.run(|| {
        let v0 = index("v0");
        netlink(|h| async move {
            let v4 = RouteMessageBuilder::<std::net::Ipv4Addr>::new()
                .destination_prefix([198, 19, 0, 0].into(), 16)
                .gateway(CENTRE_V4)
                .output_interface(v0)
                .build();
            h.route().add(v4).execute().await.expect("a route");
            let v6 = RouteMessageBuilder::<std::net::Ipv6Addr>::new()
                .destination_prefix("2001:db8:19::".parse().expect("a prefix"), 64)
                .gateway(CENTRE_V6)
                .output_interface(v0)
                .build();
            h.route().add(v6).execute().await.expect("a route");
        });
    });
}

/// No duplicate address detection and no router solicitation: addresses are usable at once.
fn quiet(name: &str) {
    for (setting, value) in
        [("accept_dad", "0"), ("dad_transmits", "0"), ("router_solicitations", "0")]
    {
        std::fs::write(format!("/proc/sys/net/ipv6/conf/{name}/{setting}"), value)
            .unwrap_or_else(|e| panic!("{setting} of {name}: {e}"));
    }
}

pub(super) fn address(name: &str, ip: IpAddr, len: u8) {
    let i = index(name);
    netlink(|h| async move { h.address().add(i, ip, len).execute().await }).expect("an address");
}

/// Routes a prefix into a device without a gateway, in the calling thread's namespace.
pub(super) fn route_into(name: &str, ip: IpAddr, len: u8) {
    let message = RouteMessageBuilder::<IpAddr>::new()
        .destination_prefix(ip, len)
        .expect("a prefix")
        .output_interface(index(name))
        .build();
    netlink(|h| async move { h.route().add(message).execute().await }).expect("a route");
}

/// Gives a prefix a behaviour in the calling thread's namespace.
pub(super) fn behave(ip: IpAddr, len: u8, behaviour: Behaviour) {
    let mut route = match ip {
        IpAddr::V4(ip) => RouteMessageBuilder::<IpAddr>::new()
            .destination_prefix(ip.into(), len)
            .expect("a prefix"),
        IpAddr::V6(ip) => RouteMessageBuilder::<IpAddr>::new()
            .destination_prefix(ip.into(), len)
            .expect("a prefix"),
    };
    route = match behaviour {
        Behaviour::Answers => route
            .kind(RouteType::Local)
            .scope(RouteScope::Host)
            .table_id(RT_TABLE_LOCAL)
            .output_interface(index("lo")),
        // The local table is asked before the main one, so exceptions must stand in it as well.
        Behaviour::Silent => route.kind(RouteType::BlackHole).table_id(RT_TABLE_LOCAL),
        Behaviour::Prohibited => route.kind(RouteType::Prohibit).table_id(RT_TABLE_LOCAL),
    };
    let message = route.build();
    netlink(|h| async move { h.route().add(message).execute().await }).expect("a route");
}
