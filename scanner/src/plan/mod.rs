//! `scan --plan`: what a scan will take, before a packet is sent.
//!
//! [`estimate`] is the arithmetic, [`price`] the price list, [`render`] the text.

pub mod estimate;
pub mod price;
pub mod render;

use anyhow::Result;
use estimate::{EstimateInput, EstimateInputs};
use mimawari_base::duration;
use mimawari_base::failure::Failure;
use mimawari_targets::CellPlan;
use price::TaskPrice;

use crate::cli::{CpuArchitecture, PlanArgs};
use crate::config::{Config, DEFAULT_RATE};

/// The question that the command line asks about a plan.
///
/// # Errors
/// A [`Failure`] naming the flag.
pub fn ask(args: &PlanArgs, config: &Config, plan: &CellPlan) -> Result<EstimateInput> {
    let wrong =
        |flag: &str, why: String, help: &str| Failure::new(format!("{flag}: {why}")).help(help);
    let share = |flag: &str, value: Option<f64>, default: f64, top: f64| match value {
        None => Ok(default),
        Some(v) if (0.0..=top).contains(&v) => Ok(v),
        Some(v) => Err(wrong(
            flag,
            format!("{v} is out of range"),
            &format!("write a share from 0 to {top}"),
        )),
    };
    let money = |flag: &str, value: Option<f64>, default: f64| match value {
        None => Ok(default),
        Some(v) if (0.0..=1000.0).contains(&v) => Ok(v),
        Some(v) => Err(wrong(
            flag,
            format!("{v} is out of range"),
            "write US dollars for an hour, such as 0.05",
        )),
    };
    let default = EstimateInputs::default();
    let list = match args.architecture {
        CpuArchitecture::X86 => price::X86,
        CpuArchitecture::Arm => price::ARM,
    };
    let addrs = plan.addrs().addrs();
    let v6 = addrs.len_v6();
    let count = |n: u128| u64::try_from(n).unwrap_or(u64::MAX);
    Ok(EstimateInput {
        v4: count(addrs.len() - v6),
        v6: count(v6),
        ports: plan.ports().len(),
        // A rate that is found by itself is not known before, so the default is assumed for it.
        rate: if config.scan.rate_auto { DEFAULT_RATE } else { config.scan.rate },
        ceiling: compute_rate_ceiling(config, count(addrs.len())),
        recall: config.scan.recall,
        parts: config.scan.part.map_or(config.scan.rotate.unwrap_or(1), |p| p.count()),
        assumed: EstimateInputs {
            loss: share("--assume-loss", args.assume_loss, default.loss, 0.99)?,
            silent: share("--assume-silent", args.assume_silent, default.silent, 1.0)?,
        },
        window: duration::parse(&args.window)
            .map_err(|e| wrong("--window", e, duration::HELP))?
            .as_secs_f64(),
        price: TaskPrice {
            vcpu_hour: money("--vcpu-hour", args.vcpu_hour, list.vcpu_hour)?,
            gb_hour: money("--gb-hour", args.gb_hour, list.gb_hour)?,
        },
    })
}

/// Packets per second that the targets bear: the ceilings of hosts and networks bind small jobs.
fn compute_rate_ceiling(config: &Config, addresses: u64) -> u32 {
    let scan = &config.scan;
    let ceiling = |each: u32, of: u64| match each {
        0 => u32::MAX,
        each => u32::try_from(u64::from(each).saturating_mul(of)).unwrap_or(u32::MAX),
    };
    // As few networks as the addresses can lie in.
    let networks = addresses.div_ceil(256);
    ceiling(scan.rate_per_host, addresses).min(ceiling(scan.rate_per_network, networks))
}
