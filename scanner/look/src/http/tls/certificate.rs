//! What a certificate says, read from hostile bytes.

use std::collections::BTreeSet;
use std::net::IpAddr;

use jiff::Timestamp;
use mimawari_probes::http::to_printable;
use mimawari_probes::observation::CertificateFacts;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry::OID_X509_EXT_SUBJECT_ALT_NAME;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// Most names that are recorded.
const NAME_LIMIT: usize = 32;

/// Longest text that is recorded, characters; as long as a DNS name can be (RFC 1035, section 2.3.4).
const TEXT_LIMIT: usize = 253;

/// Reads a certificate in DER. `host` is the name that was asked for, without one `ip`. `None` when
/// it is no certificate (RFC 5280). Total on any bytes; what it holds is bounded by their length.
#[must_use]
pub fn read(der: &[u8], host: Option<&str>, ip: IpAddr) -> Option<CertificateFacts> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let names = CertificateNames::of(&certificate);
    let mismatch = !match host {
        Some(host) => names.dns.iter().any(|pattern| covers(pattern, host)),
        None => names.addresses.contains(&ip),
    };
    let texts: BTreeSet<String> = (names.dns.iter())
        .map(|name| to_printable(name.as_bytes(), TEXT_LIMIT))
        .filter(|name| !name.trim().is_empty())
        .chain(names.addresses.iter().map(IpAddr::to_string))
        .collect();
    Some(CertificateFacts {
        names_total: u32::try_from(texts.len()).unwrap_or(u32::MAX),
        names: texts.into_iter().take(NAME_LIMIT).collect(),
        issuer: select_display_name(certificate.issuer()),
        not_before: to_timestamp(certificate.validity().not_before),
        not_after: to_timestamp(certificate.validity().not_after),
        self_signed: certificate.issuer().as_raw() == certificate.subject().as_raw(),
        mismatch,
    })
}

/// Whom a certificate is for.
#[derive(Debug, Default)]
struct CertificateNames {
    dns: BTreeSet<String>,
    addresses: BTreeSet<IpAddr>,
}

impl CertificateNames {
    /// From the subject alternative name; only a certificate that has none, of the time before
    /// RFC 2818, is for its common name.
    fn of(certificate: &X509Certificate<'_>) -> Self {
        let mut names = Self::default();
        let mut has_any = false;
        for extension in certificate.iter_extensions() {
            if extension.oid != OID_X509_EXT_SUBJECT_ALT_NAME {
                continue;
            }
            has_any = true;
            // One that cannot be read names nobody.
            let ParsedExtension::SubjectAlternativeName(alternative) = extension.parsed_extension()
            else {
                continue;
            };
            for name in &alternative.general_names {
                match name {
                    GeneralName::DNSName(name) => {
                        names.dns.insert(name.to_ascii_lowercase());
                    }
                    GeneralName::IPAddress(bytes) => {
                        names.addresses.extend(parse_ip_address(bytes))
                    }
                    _ => {}
                }
            }
        }
        if !has_any && let Some(name) = certificate.subject().iter_common_name().last() {
            let name = decode_attribute(name);
            match name.parse::<IpAddr>() {
                Ok(ip) => names.addresses.extend([ip]),
                Err(_) => names.dns.extend([name]),
            }
        }
        names
    }
}

/// Four or sixteen bytes (RFC 5280, section 4.2.1.6).
fn parse_ip_address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// Whether a certificate for `pattern` is one for `host` (RFC 9525, section 6.3): a wildcard stands
/// for exactly one label, and only as the whole leftmost one.
fn covers(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(parent) => host.split_once('.').is_some_and(|(label, rest)| {
            !label.is_empty() && !parent.contains('*') && rest.eq_ignore_ascii_case(parent)
        }),
        None => !pattern.contains('*') && pattern.eq_ignore_ascii_case(host),
    }
}

/// Common name, or else organisation.
fn select_display_name(name: &X509Name<'_>) -> Option<String> {
    name.iter_common_name()
        .chain(name.iter_organization())
        .map(decode_attribute)
        .find(|text| !text.trim().is_empty())
}

fn decode_attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    to_printable(attribute.as_slice(), TEXT_LIMIT)
}

fn to_timestamp(time: ASN1Time) -> Option<Timestamp> {
    Timestamp::from_second(time.timestamp()).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    const IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 7));

    fn der(params: CertificateParams) -> Vec<u8> {
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    /// A certificate without alternative names.
    fn plain(common_name: &str) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, common_name);
        der(params)
    }

    fn for_names(names: &[&str]) -> Vec<u8> {
        let names: Vec<String> = names.iter().map(|&n| n.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, "common.example.jp");
        der(params)
    }

    fn mismatch(der: &[u8], host: &str) -> bool {
        read(der, Some(host), IP).unwrap().mismatch
    }

    #[test]
    fn names_validity_and_issuer() {
        let mut params = CertificateParams::new(vec!["Shop.example.jp".to_owned()]).unwrap();
        params.subject_alt_names.push(SanType::IpAddress(IP));
        params.distinguished_name.push(DnType::CommonName, "shop");
        params.not_before = rcgen::date_time_ymd(2020, 1, 2);
        params.not_after = rcgen::date_time_ymd(2021, 1, 2);
        let facts = read(&der(params), Some("shop.example.jp"), IP).unwrap();
        assert_eq!(facts.names, ["198.51.100.7", "shop.example.jp"]);
        assert_eq!(facts.names_total, 2);
        assert_eq!(facts.not_before, Some("2020-01-02T00:00:00Z".parse().unwrap()));
        assert_eq!(facts.not_after, Some("2021-01-02T00:00:00Z".parse().unwrap()));
        assert_eq!(facts.issuer.as_deref(), Some("shop"));
        assert!(facts.self_signed && !facts.mismatch);
    }

    #[test]
    fn signed_by_another() {
        let (key, authority_key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let mut authority = CertificateParams::default();
        authority.distinguished_name = rcgen::DistinguishedName::new();
        authority.distinguished_name.push(DnType::OrganizationName, "Example Trust\u{1b}[31m");
        let issuer = rcgen::Issuer::new(authority, authority_key);
        let leaf = CertificateParams::new(vec!["a.example.jp".to_owned()]).unwrap();
        let leaf = leaf.signed_by(&key, &issuer).unwrap();
        let facts = read(leaf.der(), None, IP).unwrap();
        assert!(!facts.self_signed);
        // For a name, and the address was asked for.
        assert!(facts.mismatch);
        assert_eq!(facts.issuer.as_deref(), Some("Example Trust[31m"));
    }

    #[test]
    fn whom_it_is_for() {
        let der = for_names(&["a.example.jp", "*.w.example.jp"]);
        for host in ["a.example.jp", "A.EXAMPLE.JP", "x.w.example.jp", "X.W.Example.jp"] {
            assert!(!mismatch(&der, host), "{host}");
        }
        for host in ["b.example.jp", "w.example.jp", ".w.example.jp", "x.y.w.example.jp"] {
            assert!(mismatch(&der, host), "{host}");
        }
        // The common name counts for nothing beside an alternative name.
        assert!(mismatch(&der, "common.example.jp"));
        assert!(read(&der, None, IP).unwrap().mismatch);
        // Part of a label, in the middle, twice.
        let odd = for_names(&["w*.example.jp", "a.*.example.jp", "*.*.example.jp", "*"]);
        for host in ["www.example.jp", "a.b.example.jp", "b.c.example.jp", "localhost"] {
            assert!(mismatch(&odd, host), "{host}");
        }
        let mut address = CertificateParams::default();
        address.subject_alt_names = vec![SanType::IpAddress(IP)];
        let address = super::tests::der(address);
        assert!(!read(&address, None, IP).unwrap().mismatch);
        assert!(read(&address, None, "198.51.100.8".parse().unwrap()).unwrap().mismatch);
        // An address is no name.
        assert!(mismatch(&address, "198.51.100.7"));
    }

    #[test]
    fn the_common_name_only_without_alternative_names() {
        let facts = read(&plain("old.example.jp"), Some("old.example.jp"), IP).unwrap();
        assert_eq!((facts.names, facts.mismatch), (vec!["old.example.jp".to_owned()], false));
        assert!(!read(&plain("198.51.100.7"), None, IP).unwrap().mismatch);
        // An extension that cannot be read names nobody, and not the common name either.
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "old.example.jp");
        let san = rcgen::CustomExtension::from_oid_content(&[2, 5, 29, 17], vec![0xff; 9]);
        params.custom_extensions.push(san);
        let facts = read(&der(params), Some("old.example.jp"), IP).unwrap();
        assert!(facts.mismatch && facts.names.is_empty());
    }

    #[test]
    fn bounded_and_clean() {
        let many: Vec<String> = (0..100).map(|i| format!("h{i:03}.example.jp")).collect();
        let many = for_names(&many.iter().map(String::as_str).collect::<Vec<_>>());
        let facts = read(&many, Some("h099.example.jp"), IP).unwrap();
        assert_eq!((facts.names.len(), facts.names_total), (NAME_LIMIT, 100));
        // The names that are left out count for the match.
        assert!(!facts.mismatch);
        let nasty = format!("\u{1b}]0;x\u{7}\u{202e}{}", "y".repeat(1000));
        let facts = read(&plain(&nasty), None, IP).unwrap();
        for text in facts.names.iter().chain(&facts.issuer) {
            assert!(text.chars().count() <= TEXT_LIMIT, "{text:?}");
            assert!(!text.chars().any(|c| c.is_control() || c == '\u{202e}'), "{text:?}");
        }
        let facts = read(&for_names(&["\u{1b}[31m.example.jp"]), None, IP);
        assert_eq!(facts.unwrap().names, ["[31m.example.jp"]);
    }

    #[test]
    fn garbage_is_no_certificate() {
        for bytes in [&b""[..], b"\x30", b"\x30\x84\xff\xff\xff\xff", &[0x30; 4096]] {
            assert_eq!(read(bytes, None, IP), None);
        }
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            let _ = read(&bytes, Some("a.example.jp"), IP);
        }

        /// A real certificate with bytes changed, or cut off.
        #[test]
        fn mangled(
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
            end in any::<prop::sample::Index>(),
            cut in any::<bool>(),
        ) {
            static DER: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
            let der = DER.get_or_init(|| for_names(&["a.example.jp", "198.51.100.7", "*.b.example.jp"]));
            let mut der = der.clone();
            for (at, byte) in changes {
                let at = at.index(der.len());
                der[at] = byte;
            }
            if cut {
                der.truncate(end.index(der.len()));
            }
            if let Some(facts) = read(&der, None, IP) {
                prop_assert!(facts.names.len() <= NAME_LIMIT);
                for text in facts.names.iter().chain(&facts.issuer) {
                    prop_assert!(text.chars().count() <= TEXT_LIMIT);
                    prop_assert!(!text.chars().any(char::is_control));
                }
            }
        }
    }
}
