//! The sentences of gaps: what was not covered, what is doubtful, what a reader should know.
//!
//! The only place that makes them. Names and reasons come from hosts, files and other machines, so every
//! sentence is cleaned and bounded here.

use mimawari_drift::freshness::format_age;
use mimawari_drift::verdict::Verdict;
use mimawari_probes::gap::{
    CoverageGap, Gap, GapEffect, ImportEnd, LeftOutReason, ManifestIdle, NamedSample, VhostIdle,
};

use crate::clean::clean;
use crate::words::NAME;

/// Longest sentence, characters.
const LONGEST: usize = 2_000;

/// The sentence of a gap, with the shard that it is of.
#[must_use]
pub fn describe_gap(g: &CoverageGap) -> String {
    let text = match (&g.gap, g.shard) {
        // It names its shard already, where it has one.
        (Gap::Other(_), _) => g.text.clone(),
        (gap, Some(shard)) => format!("Shard {shard}: {}", describe_unsharded_gap(gap)),
        (gap, None) => describe_unsharded_gap(gap),
    };
    clean(&text, LONGEST)
}

/// Gives every gap its sentence.
pub fn describe_gaps(gaps: &mut [CoverageGap]) {
    for g in gaps {
        g.text = describe_gap(g);
    }
}

/// Fills in the sentences of a verdict, which the judge leaves empty: of every gap, and the lists of
/// sentences beside them.
pub fn describe_verdict(v: &mut Verdict) {
    let gaps = &mut v.coverage.gaps;
    describe_gaps(gaps);
    let of = |is: &dyn Fn(GapEffect) -> bool| -> Vec<String> {
        gaps.iter().filter(|g| is(g.effect)).map(|g| g.text.clone()).collect()
    };
    let (doubted, not_covered) =
        (of(&|effect| effect == GapEffect::Doubted), of(&|effect| effect == GapEffect::NotCovered));
    v.run.notes = of(&|effect| effect == GapEffect::Noted);
    v.incomplete_because = doubted.into_iter().chain(not_covered.iter().cloned()).collect();
    v.coverage.not_covered = not_covered;
}

/// `a, b, …`
fn format_sample(sample: &NamedSample) -> String {
    let mut text = sample.first.join(", ");
    if sample.more {
        text.push_str(", …");
    }
    text
}

#[allow(clippy::too_many_lines)] // One arm a kind; there is nothing to divide.
fn describe_unsharded_gap(gap: &Gap) -> String {
    match gap {
        Gap::NameResolved { name, ip } => format!("{name} is {ip}"),
        Gap::NameOutsideScope { name, ip } => {
            format!("{name} resolves to {ip}, which is not in the scope: not scanned.")
        }
        Gap::NameUnresolved { name, reason, partly: true } => {
            format!("{name} could be resolved only in part ({reason}).")
        }
        Gap::NameUnresolved { name, reason, partly: false } => {
            format!("{name} could not be resolved ({reason}): not scanned.")
        }

        Gap::ConnectMethod { reason } => format!("Method connect: {reason}."),
        Gap::Resumed { at, cells, finished: Some(finished), in_work } => format!(
            "Resumed at {at}: {finished} of {cells} cells were finished, {in_work} more in work."
        ),
        Gap::Resumed { at, .. } => {
            format!("Resumed at {at}, from the beginning: there was no checkpoint yet.")
        }
        Gap::Stopped => "The run was stopped before its end.".to_owned(),
        Gap::DeadlineReached { seconds } => format!(
            "The deadline of {} was reached before the end of the run.",
            format_duration(*seconds)
        ),
        Gap::SweepFailed { reason } => format!("The sweep failed: {reason}."),
        Gap::WriteFailed { reason } => format!("Results could not be written: {reason}."),
        Gap::RunUnfinished => "The run has no end: it was killed, or is still going on.".to_owned(),
        Gap::RunFailed => "The run ended by an error.".to_owned(),
        Gap::ObservationsCutOff => {
            "observations.ndjson ends in half a line, which was left out.".to_owned()
        }
        Gap::RecordsUnknown { records } => format!(
            "{records} records of observations.ndjson are of kinds that this version does not know: a newer \
             mimawari wrote them, and they were left out."
        ),
        Gap::CoverageCutOff => {
            "coverage.bin ends in half a frame, whose cells are not covered.".to_owned()
        }

        Gap::CellsNotProbed { cells, of } => {
            format!("{cells} of {of} cells were not probed to the end.")
        }
        Gap::RecallNotReached { promised, estimate } => format!(
            "The promised recall of {promised} was not reached; the estimate is {}.",
            estimate.map_or_else(|| "unknown".to_owned(), |r| format!("{r:.5}"))
        ),
        Gap::CanarySilent { canary } => format!(
            "The canary {canary}, known to be open, did not answer: this run is not to be believed."
        ),
        Gap::EstimateMethod { open_only } => format!(
            "loss and recall are estimated by capture–recapture (removal method, Seber and Le Cren \
             1967; intervals after Wilson 1927) from {}",
            if *open_only {
                "the SYN-ACKs alone, because RSTs were lost at another rate (hosts may limit them)"
            } else {
                "all TCP answers"
            }
        ),
        Gap::LossAssumed { answered, loss } => format!(
            "only {answered} cells answered and no answer was missed; a loss of at most {} % was \
             assumed",
            loss * 100.0
        ),
        Gap::NoEstimate => {
            "nothing answered, so nothing can be said about loss and recall".to_owned()
        }
        Gap::ChunksBelowRecall { recall, chunks, attempts } => format!(
            "the promised recall of {recall} was not reached in {chunks} chunk(s) with the maximum of \
             {attempts} attempts"
        ),
        Gap::SweepGaveUp => "every send failed for 30 s: the sweep gave up".to_owned(),
        Gap::SweepStopped => "the sweep was stopped before its end".to_owned(),
        Gap::CellsLeft { cells } => format!("{cells} cells were not probed"),
        Gap::FramesLost { frames } => format!("{frames} frames were lost on receiving"),
        Gap::PathCapacity { packets_per_second, times } => format!(
            "the path carried {packets_per_second} packets per second at its worst: the rate was \
             lowered {times} time(s), and what was lost was sent again"
        ),
        Gap::AnswersFewer { share_left } => format!(
            "answers became fewer during the sweep, down to {:.0} % of what came before, and sending \
             more slowly did not help: hosts went away, or something shuts the scanner out",
            share_left * 100.0
        ),
        Gap::LossInBursts { dispersion } => format!(
            "losses came in bursts (answers varied {dispersion:.1} times as much as by chance): the \
             estimate assumes single losses and may be too good"
        ),
        Gap::NoRoute { ranges } => format!("No route to {ranges}: not probed."),
        Gap::PathUnusable { reason, ranges } => format!("{reason}: {ranges} not probed."),
        Gap::NoMappedRing { interface } => format!(
            "Interface {interface} has no mapped receive ring; packets are received one by one, and \
             more may be lost at high rates."
        ),
        Gap::ReceivingEnded => "Receiving ended before its time.".to_owned(),
        Gap::ReceivingFailed { interface, reason } => {
            format!("Receiving on {interface} failed for a time: {reason}.")
        }
        Gap::SendingHopeless { interface, reason, seconds } => format!(
            "Nothing could be sent for {seconds} seconds (interface {interface}: {reason}); the sweep \
             was stopped, and the cells left were not probed."
        ),
        Gap::SendsFailed { interface, sends, reason } => {
            format!("{sends} sends on {interface} failed: {reason}.")
        }
        Gap::FramesRefused { frames } => format!(
            "{frames} frames for addresses outside the scope were held back: this is a defect, please \
             report it."
        ),
        Gap::AllowanceExceeded { interface, packets, allowance } => format!(
            "{interface}: {packets} packets exceeded {}; lower the rate, or use a larger instance.",
            describe_allowance(allowance)
        ),

        Gap::ConfirmationStopped { ports } => {
            format!("{ports} open ports were not confirmed, since the run was stopped.")
        }
        Gap::ConfirmationLeftOut { ports, hosts, named: sample } => format!(
            "{ports} open ports of {hosts} hosts that answer on most ports were not confirmed one by \
             one: {}.",
            format_sample(sample)
        ),
        Gap::SecondLooksFailed { ports } => format!(
            "None of {ports} open ports accepted a second connection: this machine's own firewall or \
             routes, or somebody who shuts the scanner out, may be the reason."
        ),
        Gap::SecondLooksShutOut { ports, confirmed } => format!(
            "The last {ports} open ports did not accept a second connection, while {confirmed} before \
             them did: somebody may have shut the scanner out during the run."
        ),
        Gap::SecondLooksOwnError { ports, named: sample } => format!(
            "{ports} open ports got no second look, because this machine could not make the \
             connections (its limit of file descriptors, its memory, its ports or its routes): {}.",
            format_sample(sample)
        ),
        Gap::SitesUnanswered { ports, named: sample } => format!(
            "{ports} open ports did not answer when they were to be looked at for web sites: {}.",
            format_sample(sample)
        ),
        Gap::StretchesUnanswered { stretches, cells } => format!(
            "Almost nothing answered in {stretches} stretches of the sweep, while the others did (an \
             outage, a ban, a full table): the {cells} silent cells there are not covered."
        ),
        Gap::RouterChanged { router } => format!(
            "The router {router} changed its Ethernet address during the sweep, and was followed."
        ),
        Gap::AddressesLeftScope { named: sample } => format!(
            "Addresses left the scope since the run was begun, and were not probed any more: {}.",
            format_sample(sample)
        ),
        Gap::WebPortsMute { ports, named: sample } => format!(
            "{ports} web ports accepted a connection and sent nothing, so no site was looked at there \
             (an idle service, or a path that loses large packets): {}.",
            format_sample(sample)
        ),
        Gap::OddHosts { asked, accepting, left_out, named: sample } => {
            let mut text = format!(
                "{asked} hosts looked odd and were asked on random ports outside the plan; {accepting} \
                 of them accept connections there"
            );
            if *accepting > 0 {
                text.push_str(&format!(" ({})", format_sample(sample)));
            }
            if *left_out > 0 {
                text.push_str(&format!("; {left_out} more were not asked"));
            }
            text.push('.');
            text
        }

        Gap::ContentChecksOff => "Content checks are switched off.".to_owned(),
        Gap::ChecksUnanswered { checks, of, named: sample } => {
            format!(
                "{checks} of {of} content checks got no usable answer: {}.",
                format_sample(sample)
            )
        }
        Gap::VhostsWithoutPort { hosts, named: sample } => format!(
            "{hosts} virtual hosts had no open web port in this run and were not looked at: {}.",
            format_sample(sample)
        ),
        Gap::VhostsNotAsked { hosts, reason, named: sample } => format!(
            "{hosts} virtual hosts were not asked for, since {}: {}.",
            match reason {
                VhostIdle::PortNotPlanned => "their port is not one of `ports`",
                VhostIdle::OtherScheme => "their port speaks the other scheme",
            },
            format_sample(sample)
        ),
        Gap::VhostRowsSkipped { rows, named: sample } => {
            format!(
                "{rows} rows of the list of virtual hosts were skipped: {}.",
                format_sample(sample)
            )
        }
        Gap::SitesMoved { sites, named: sample } => format!(
            "{sites} default sites send every path to a site that no list names: {}.",
            format_sample(sample)
        ),
        Gap::VhostListUnusable { reason } => format!("{reason}."),
        Gap::ManifestUnreadable { site, files } => format!(
            "{files} files or folders of {site} could not be read when its manifest was made."
        ),
        Gap::ManifestNotAsked { site, reason } => format!(
            "Nothing was asked by the manifest of {site}: {}.",
            match reason {
                ManifestIdle::NotListed =>
                    "no list of virtual hosts names it (`vhosts` under [http])",
                ManifestIdle::NoOpenPort => "none of its addresses has an open web port",
            }
        ),
        Gap::NamesElsewhere { hosts, named: sample } => format!(
            "DNS has only addresses outside the scope for {hosts} of the virtual hosts: {}.",
            format_sample(sample)
        ),
        Gap::NamesNowhere { hosts, named: sample } => {
            format!(
                "DNS has no address for {hosts} of the virtual hosts: {}.",
                format_sample(sample)
            )
        }
        Gap::NamesUnanswered { hosts } => {
            format!("DNS gave no answer for {hosts} of the virtual hosts.")
        }
        Gap::NamesGivenUp => "The DNS cross-check ended early, since the name server did not \
                              answer; the other names were not looked up."
            .to_owned(),

        Gap::Imported { file, method } => format!("Imported from {file}: {method}."),
        Gap::PortsLeftOut { ports, reason, named: sample } => format!(
            "{ports} {} not imported: {} ({}{}).",
            if *ports == 1 { "port was" } else { "ports were" },
            match reason {
                LeftOutReason::OutsideScope => "they are outside the scope",
                LeftOutReason::NotPlanned => "their addresses or ports are not of the plan",
            },
            sample.first.join(", "),
            if sample.more { " and maybe others" } else { "" }
        ),
        Gap::SingleAnswers { ports, of } => format!(
            "{ports} of {of} answers that showed an open port were one SYN-ACK each: no second \
             connection confirmed them."
        ),
        Gap::ImportNotCovered { cells, of, scanner: Some(scanner) } => format!(
            "{cells} of {of} cells are not covered: {scanner} lists what answered and nothing else, so \
             nothing is resolved by their absence."
        ),
        Gap::ImportNotCovered { cells, of, scanner: None } => format!(
            "{cells} of {of} cells are not covered: the file does not name their hosts, calls them \
             down, or could not determine the state of the port."
        ),
        Gap::ImportCutOff { end, reason } => import_end(*end, reason.as_deref()),
        Gap::OtherProtocols { entries } => {
            format!("{entries} entries of other protocols than TCP were left out.")
        }
        Gap::PortsWithoutNumbers { groups } => format!(
            "{groups} groups of ports were counted without their numbers, as nmap before 7.92 does; \
             those ports are not covered."
        ),
        Gap::PortsUnclear { ports } => format!(
            "{ports} ports are not covered: nmap could not determine their state, such as `open|filtered` \
             or `filtered` by a host that was not reached."
        ),
        Gap::HostsGivenUp { hosts } => {
            format!("{hosts} hosts were given up by nmap (--host-timeout).")
        }
        Gap::AnswersUnclear { answers } => {
            format!("{answers} answers were neither SYN-ACK nor RST and were left out.")
        }
        Gap::AnswersUnclassified => {
            "The file does not say which answers were SYN-ACK; all are taken for it.".to_owned()
        }

        Gap::ShardMissing { missing, cells } => {
            format!("Shard {missing} is missing: its {cells} cells were not probed.")
        }
        Gap::ShardUnfinished { unfinished } => {
            format!("Shard {unfinished} did not come to its end.")
        }
        Gap::ShardDamaged { reason } => format!("{reason}."),
        Gap::MethodsDiffer => {
            "The shards used different methods; only SYN sees `prohibited`.".to_owned()
        }
        Gap::ShardsNotJudged { shards } => {
            let shards: Vec<String> = shards.iter().map(ToString::to_string).collect();
            format!("Not judged here: shard {}.", shards.join(", "))
        }
        Gap::MoreGaps { gaps } => format!("And {gaps} more; see the report."),

        Gap::NothingAnswered => "Nothing answered at all.".to_owned(),
        Gap::CanariesSilent { silent, of } => {
            format!("{silent} of {of} canaries, known to be open, did not answer.")
        }
        Gap::GoneAtOnce { gone, of } => {
            format!("{gone} of {of} cells that were open before are gone at once.")
        }
        Gap::PartsStale { stale, of, never, max_age_seconds, oldest_seconds } => {
            let mut text = format!(
                "{stale} of {of} parts of the plan were not covered within the last {}",
                format_age(*max_age_seconds)
            );
            if *never > 0 {
                text.push_str(&format!("; {never} never"));
            }
            if let Some(age) = oldest_seconds {
                text.push_str(&format!("; the oldest coverage is {} old", format_age(*age)));
            }
            text.push('.');
            text
        }
        Gap::PlanNew => {
            "This plan has not been run before: the ages of its parts start anew.".to_owned()
        }
        Gap::RequiredNotCovered { cells } => format!(
            "{cells} cells that must be open were not covered by this run, and nothing is said of them."
        ),
        Gap::PoolUndecided { rule, port, at_least, open, unknown, of } => format!(
            "The rule `{}` requires tcp/{port} on at least {at_least} of {of} addresses: {open} are known to be \
             open, and {unknown} were not covered, so that nothing is said of it.",
            clean(rule, NAME)
        ),
        Gap::SitesForgotten { room, forgotten } => format!(
            "The inventory holds {room} sites; {forgotten} that were seen longest ago are forgotten."
        ),
        Gap::BaselinePublication { sequence, commit } => {
            let mut text = format!("Judged by publication {sequence} of the baseline");
            if let Some(commit) = commit {
                text.push_str(&format!(" (commit {})", clean(commit, 12)));
            }
            text.push('.');
            text
        }
        Gap::Other(_) => String::new(),
    }
}

fn import_end(end: ImportEnd, reason: Option<&str>) -> String {
    match (end, reason) {
        (ImportEnd::NoFinished, _) => {
            "The file has no <finished>: the scan was stopped or the file is cut off.".to_owned()
        }
        (ImportEnd::ScanError, None) => "The scan ended by an error.".to_owned(),
        (ImportEnd::ScanError, Some(reason)) => format!("The scan ended by an error: {reason}"),
        (ImportEnd::NoEndLine, _) => "The file has no `# end`: the scan was stopped.".to_owned(),
        (ImportEnd::JsonOpen, _) => {
            "The file ends before its JSON does: the scan was stopped.".to_owned()
        }
        (ImportEnd::HalfLine, _) => {
            "The file ends in the middle of a line: the scan was stopped.".to_owned()
        }
    }
}

/// A length of time in its two largest units.
fn format_duration(seconds: f64) -> String {
    if seconds < 1.0 {
        return "under 1 s".to_owned();
    }
    // A number that is none becomes 0.
    let s = seconds.round() as u64;
    let two = |a: u64, ua: &str, b: u64, ub: &str| {
        if b == 0 { format!("{a} {ua}") } else { format!("{a} {ua} {b} {ub}") }
    };
    match s {
        0..60 => format!("{s} s"),
        60..3_600 => two(s / 60, "min", s % 60, "s"),
        3_600..86_400 => two(s / 3_600, "h", s % 3_600 / 60, "min"),
        _ => two(s / 86_400, "d", s % 86_400 / 3_600, "h"),
    }
}

/// What a counter of the network card limits.
fn describe_allowance(counter: &str) -> &str {
    match counter {
        "bw_in_allowance_exceeded" => "the bandwidth allowance for incoming traffic",
        "bw_out_allowance_exceeded" => "the bandwidth allowance for outgoing traffic",
        "pps_allowance_exceeded" => "the packets-per-second allowance",
        "conntrack_allowance_exceeded" => {
            "the allowance of tracked connections (open the security group both ways, so that flows \
             are not tracked)"
        }
        "linklocal_allowance_exceeded" => "the allowance for local services such as DNS",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use mimawari_targets::PlanShard;

    use super::*;

    #[test]
    fn a_sentence_names_its_shard_once_and_holds_nothing_that_acts_on_a_screen() {
        let shard = PlanShard::new(2, 3).unwrap();
        let hostile = Gap::SweepFailed { reason: "\u{1b}[31m\u{202e}red".to_owned() };
        let text = describe_gap(&hostile.not_covered().of_shard(shard));
        assert!(text.starts_with("Shard 2/3: The sweep failed: "), "{text}");
        assert!(!text.chars().any(crate::clean::is_hostile), "{text}");
        let missing = Gap::ShardMissing { missing: shard, cells: 4 }.not_covered();
        assert_eq!(describe_gap(&missing), "Shard 2/3 is missing: its 4 cells were not probed.");
    }

    #[test]
    fn a_kind_that_is_not_known_keeps_the_sentence_that_it_came_with() {
        let newer =
            r#"{"kind":"moon_phase","effect":"noted","shard":"2/3","text":"Shard 2/3: dark."}"#;
        let mut gap: CoverageGap = serde_json::from_str(newer).unwrap();
        describe_gaps(std::slice::from_mut(&mut gap));
        assert_eq!(gap.text, "Shard 2/3: dark.");
    }
}
