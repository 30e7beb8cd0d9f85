//! The certificates by which S3 and the receivers of messages are known.

use super::line::CheckFinding;

/// Where they usually are; `FROM scratch` images have one of these or none.
const PLACES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
    "/etc/ssl/certs",
];

/// What was found.
#[derive(Debug, Clone)]
pub struct RootCertificates {
    /// How many certificates.
    pub count: usize,
    /// Where.
    pub place: String,
    /// The first thing that could not be read.
    pub error: Option<String>,
}

/// Looks, as the client of S3 does.
#[must_use]
pub fn look() -> RootCertificates {
    let loaded = rustls_native_certs::load_native_certs();
    let set = ["SSL_CERT_FILE", "SSL_CERT_DIR"]
        .iter()
        .find_map(|n| Some(format!("{} ({n})", std::env::var(n).ok()?)));
    let usual = || PLACES.iter().find(|p| std::path::Path::new(p).exists());
    RootCertificates {
        count: loaded.certs.len(),
        place: set.or_else(|| usual().map(ToString::to_string)).unwrap_or_else(|| "nowhere".into()),
        error: loaded.errors.first().map(ToString::to_string),
    }
}

/// Judges. `needed`: something is reached by TLS that must be known.
#[must_use]
pub fn judge(r: &RootCertificates, needed: bool) -> CheckFinding {
    const REMEDY: &str = "install ca-certificates, copy /etc/ssl/certs/ca-certificates.crt into the \
                          image, or name a bundle by SSL_CERT_FILE";
    match (r.count, needed) {
        (0, needed) => {
            let why = r.error.as_ref().map_or(String::new(), |e| format!(": {e}"));
            let what = format!("no CA certificate found ({}){why}", r.place);
            if needed {
                CheckFinding::fail(what, REMEDY)
            } else {
                CheckFinding::warn(what + "; none is needed yet", REMEDY)
            }
        }
        (n, _) => CheckFinding::ok(format!("{n} CA certificates in {}", r.place)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::line::LineMark;
    use super::*;

    #[test]
    fn none_matters_where_tls_is_used() {
        let none = RootCertificates { count: 0, place: "nowhere".into(), error: None };
        assert_eq!(judge(&none, true).mark, LineMark::Fail);
        assert_eq!(judge(&none, false).mark, LineMark::Warn);
        assert_eq!(judge(&RootCertificates { count: 140, ..none }, true).mark, LineMark::Ok);
    }
}
