//! Rounds over one or many tasks: in a folder, and on S3 by moto's server.
//!
//! All packets go to loopback. The cases on S3 are left out and counted as ignored unless
//! `MIMAWARI_LAB=full`; they then run in a namespace with no way out.

#[path = "rounds/attack.rs"]
mod attack;
#[path = "rounds/desk.rs"]
mod desk;
#[path = "rounds/hostile.rs"]
mod hostile;
#[path = "rounds/interrupted.rs"]
mod interrupted;
#[path = "rounds/whole.rs"]
mod whole;

use std::sync::Arc;

use desk::{Desk, Place};
use libtest_mimic::Trial;
use mimawari_tests::moto::Moto;
use mimawari_tests::suite::Selection;

/// A case and its name.
type Case = (&'static str, fn(&Desk));

/// Held in a folder and on S3 alike.
const BOTH: &[Case] = &[
    ("merged_shards_are_the_verdict_of_one_patrol", whole::merged),
    ("a_missing_shard_is_named_and_nothing_in_it_is_resolved_until_it_arrives", whole::missing),
    ("a_round_of_which_nothing_came_has_a_result", whole::nothing),
    ("reduced_again_nothing_is_notified_twice", whole::again),
    ("two_plans_at_once_and_one_wins", whole::two_plans),
    ("a_killed_shard_is_gone_on_with", interrupted::killed),
    ("a_stopped_shard_is_gone_on_with_and_probes_less", interrupted::stopped),
    ("a_zombie_and_its_successor_do_not_mix", interrupted::zombie),
    ("one_task_that_is_stopped_goes_on", interrupted::run),
    ("what_is_damaged_is_missing", hostile::damaged),
];

/// Held in a folder alone.
const FOLDER: &[Case] = &[
    ("a_store_that_is_away_for_a_while_stops_nothing", interrupted::store_away),
    ("each_orchestrator_is_understood", whole::orchestrators),
    ("no_packet_leaves_under_another_scope", hostile::scope),
    ("hostile_ids_are_refused", hostile::ids),
    ("hostile_objects_are_refused", hostile::objects),
    ("mistakes_are_reported", hostile::mistakes),
    ("what_shards_look_at_is_what_a_patrol_looks_at", attack::looked),
    ("a_look_that_was_stopped_is_done_again", attack::stopped_in_the_look),
    ("a_shard_that_heard_no_canary_makes_the_round_suspect", attack::deaf_shard),
    ("a_deadline_of_one_shard_is_named", attack::deadline),
    ("the_next_reduction_notifies_what_a_killed_one_did_not", attack::killed_before_notifying),
    ("two_reductions_at_once_leave_the_files_of_one", attack::two_reductions),
    ("forged_runs_break_nothing_and_reach_no_terminal", attack::forged),
    ("no_verdict_upon_a_plan_of_another_scope", attack::reduced_elsewhere),
    ("names_parts_and_empty_lists_of_targets", attack::odd_plans),
];

pub fn trials(selection: &Selection) -> Vec<Trial> {
    let full = selection.mode.is_full();
    let named = |place: &str, name: &str| format!("rounds::{place}::{name}");
    let needed = full && BOTH.iter().any(|(name, _)| selection.runs(&named("s3", name)));
    let moto = needed.then(|| Arc::new(Moto::start()));
    let mut all = Vec::new();
    for (net, (name, case)) in (1..).zip(BOTH.iter().chain(FOLDER)) {
        let case = *case;
        all.push(Trial::test(named("folder", name), move || {
            case(&Desk::new(Place::Folder, net));
            Ok(())
        }));
    }
    for (net, (name, case)) in (100..).zip(BOTH) {
        let (case, moto) = (*case, moto.clone());
        let run = move || {
            let moto = moto.ok_or("there is no server")?;
            let bucket = format!("rounds-{net}");
            moto.make(&bucket);
            case(&Desk::new(Place::Bucket(moto, bucket), net));
            Ok(())
        };
        all.push(Trial::test(named("s3", name), run).with_ignored_flag(!full));
    }
    all
}
