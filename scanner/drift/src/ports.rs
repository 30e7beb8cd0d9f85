//! Ports of administration and data: what no stranger should reach.

use mimawari_targets::{Port, PortSet};

/// Remote access, file shares, directories, databases, caches, queues, orchestrators, panels. An
/// unexpected one is a finding of high severity, and an allowance of one needs an end.
const SENSITIVE: &[u16] = &[
    22, 23, 111, 135, 139, 389, 445, 512, 513, 514, 623, 873, 1433, 1521, 2049, 2375, 2376, 2379,
    2380, 3306, 3389, 5432, 5601, 5672, 5900, 5984, 5985, 5986, 6379, 6443, 8006, 8086, 9042, 9092,
    9200, 9300, 10000, 10250, 11211, 15672, 27017, 50000,
];

/// Whether a port is one of administration or data.
#[must_use]
pub fn is_sensitive(port: Port) -> bool {
    SENSITIVE.binary_search(&port.get()).is_ok()
}

/// The lowest port of administration or data in a set.
#[must_use]
pub fn find_sensitive_port(ports: &PortSet) -> Option<Port> {
    SENSITIVE.iter().filter_map(|p| Port::new(*p)).find(|p| ports.contains(*p))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_for_the_search() {
        assert!(SENSITIVE.is_sorted_by(|a, b| a < b));
        assert!(is_sensitive(Port::new(22).expect("a port")));
        assert!(!is_sensitive(Port::new(443).expect("a port")));
        let set = PortSet::from_ranges([(24, 111)]);
        assert_eq!(find_sensitive_port(&set), Port::new(111));
        assert_eq!(find_sensitive_port(&PortSet::from_ranges([(24, 110)])), None);
    }
}
