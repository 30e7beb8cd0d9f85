//! What AWS Fargate offers and what it costs.
//!
//! These are list prices, copied by hand: they change, and differ by region and contract. Every
//! output that uses them says from when they are, and the command line can replace them.

use serde::Serialize;

/// When the prices were last compared with the source.
///
/// Source: <https://aws.amazon.com/fargate/pricing/>, Linux, on demand, US East (N. Virginia).
pub const AS_OF: &str = "2026-11";
/// The region of the prices.
pub const REGION: &str = "us-east-1";

/// Tasks are billed for a minute at least.
pub const MIN_BILLED_SECONDS: f64 = 60.0;

/// US dollars for an hour.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct TaskPrice {
    /// Of one vCPU.
    pub vcpu_hour: f64,
    /// Of one GB of memory.
    pub gb_hour: f64,
}

/// Linux on x86-64.
pub const X86: TaskPrice = TaskPrice { vcpu_hour: 0.04048, gb_hour: 0.004_445 };
/// Linux on ARM64.
pub const ARM: TaskPrice = TaskPrice { vcpu_hour: 0.03238, gb_hour: 0.00356 };

/// A task size that Fargate accepts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct TaskSize {
    /// vCPUs; 0.25 to 16.
    pub vcpu: f64,
    /// Memory in GB.
    pub gb: f64,
}

/// Sizes of CPU with their least and greatest memory and its step, in GB.
///
/// Source: ECS developer guide, "Task CPU and memory" of Fargate.
const SIZES: &[(f64, &[f64])] = &[
    (0.25, &[0.5, 1.0, 2.0]),
    (0.5, &[1.0, 2.0, 3.0, 4.0]),
    (1.0, &[2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]),
    (2.0, &[4.0, 8.0, 12.0, 16.0]),
    (4.0, &[8.0, 16.0, 24.0, 30.0]),
    (8.0, &[16.0, 32.0, 48.0, 60.0]),
    (16.0, &[32.0, 64.0, 96.0, 120.0]),
];

impl TaskSize {
    /// The smallest size with at least this much of both; `None` when no task is that large.
    #[must_use]
    pub fn holding(vcpu: f64, bytes: u64) -> Option<Self> {
        let gb = bytes as f64 / (1u64 << 30) as f64;
        SIZES.iter().filter(|(c, _)| *c >= vcpu).find_map(|(c, memory)| {
            let gb = memory.iter().find(|m| **m >= gb)?;
            Some(Self { vcpu: *c, gb: *gb })
        })
    }

    /// US dollars for an hour of one task.
    #[must_use]
    pub fn hourly(self, price: TaskPrice) -> f64 {
        self.vcpu * price.vcpu_hour + self.gb * price.gb_hour
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_size_that_holds_both() {
        let mib = |n: u64| n << 20;
        let size = |v, m| TaskSize::holding(v, m).map(|s| (s.vcpu, s.gb));
        assert_eq!(size(0.1, mib(100)), Some((0.25, 0.5)));
        assert_eq!(size(0.25, mib(513)), Some((0.25, 1.0)));
        assert_eq!(size(0.3, mib(100)), Some((0.5, 1.0)));
        // More memory than a quarter vCPU may have takes a larger CPU.
        assert_eq!(size(0.1, mib(3000)), Some((0.5, 3.0)));
        assert_eq!(size(16.0, mib(1)), Some((16.0, 32.0)));
        assert_eq!(size(16.1, mib(1)), None);
        assert_eq!(size(0.1, mib(121 * 1024)), None);
    }

    #[test]
    fn four_cpus_and_eight_gb_cost_what_the_price_list_says() {
        let size = TaskSize { vcpu: 4.0, gb: 8.0 };
        assert!((size.hourly(X86) - 0.197_48).abs() < 1e-9);
        assert!((size.hourly(ARM) - 0.158).abs() < 1e-9);
    }
}
