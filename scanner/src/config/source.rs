//! The addresses that packets and connections come from.

use std::net::IpAddr;

use toml::Spanned;

use super::CheckConfig;

/// Reads them: at most one of each family, and none that nobody could answer.
pub(super) fn parse(check: &mut CheckConfig<'_>, items: &[Spanned<String>]) -> Vec<IpAddr> {
    let mut sources: Vec<IpAddr> = Vec::new();
    for item in items {
        let text = item.get_ref();
        let help = "write an address of this machine, such as `source = [\"192.0.2.7\"]`";
        match text.parse::<IpAddr>() {
            Ok(ip) if ip.is_unspecified() || ip.is_multicast() => {
                check.error(item.span(), format!("nobody can send from {ip}"), help);
            }
            Ok(ip) if sources.iter().any(|s| s.is_ipv4() == ip.is_ipv4()) => {
                let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
                let title = format!("{ip} is the second {family} address to send from");
                check.error(item.span(), title, "name one address of each family");
            }
            Ok(ip) => sources.push(ip),
            Err(_) => {
                let title = format!("`{}` is not an address", text.escape_debug());
                check.error(item.span(), title, help);
            }
        }
    }
    sources
}
