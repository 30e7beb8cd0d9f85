//! Which shard this process is, from the variables of orchestrators.

use mimawari_base::failure::Failure;
use mimawari_targets::PlanShard;

/// Number of shards, where the orchestrator sets only an index.
pub const COUNT: &str = "MIMAWARI_SHARDS";

/// Where an index is looked for, all counted from 0: AWS Batch array jobs, then the child number at
/// the end of their job id, then Kubernetes indexed jobs.
const INDEXES: [&str; 3] =
    ["AWS_BATCH_JOB_ARRAY_INDEX", "AWS_BATCH_JOB_ID", "JOB_COMPLETION_INDEX"];
/// Where a count is looked for.
const COUNTS: [&str; 2] = [COUNT, "AWS_BATCH_JOB_ARRAY_SIZE"];

/// The shard that the environment names, if it names one: `None` for a process that is not one of
/// several. An index without a count, or with one that it does not fit, is an error: taking the
/// whole plan instead would probe every cell as many times as there are processes.
///
/// # Errors
/// A [`Failure`] naming the variable.
pub fn from_environment(
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<PlanShard>, Failure> {
    let set = |name: &'static str| variable(name).filter(|v| !v.is_empty()).map(|v| (name, v));
    let index = INDEXES.into_iter().filter_map(set).find_map(|(name, value)| match name {
        // Only the children of an array job have a number at the end.
        "AWS_BATCH_JOB_ID" => value.rsplit_once(':').map(|(_, n)| (name, n.to_owned())),
        _ => Some((name, value)),
    });
    let count = COUNTS.into_iter().find_map(set);
    let number = |(name, value): (&'static str, String)| {
        value.parse::<u32>().map_err(|_| {
            let shown: String = value.chars().take(20).collect();
            Failure::new(format!("{name}: `{}` is no number", shown.escape_default()))
                .help("unset it, or name the shard with --shard i/n")
        })
    };
    let Some(index) = index else {
        // A count alone belongs to a job that gets its index in another way, or to none.
        return Ok(None);
    };
    let name = index.0;
    let index = number(index)?;
    let Some(count) = count else {
        return Err(Failure::new(format!(
            "{name} says that this is shard {index} (from 0), and nothing says of how many"
        ))
        .help(format!("set {COUNT} to the number of shards, or use --shard i/n")));
    };
    let count_name = count.0;
    let count = number(count)?;
    let shard = index.checked_add(1).and_then(|i| PlanShard::new(i, count));
    shard.map(Some).ok_or_else(|| {
        Failure::new(format!(
            "{name} says shard {index} (from 0), and {count_name} that there are {count}"
        ))
        .help("set both of the same job, or name the shard with --shard i/n")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_shard(variables: &[(&str, &str)]) -> Result<String, String> {
        let find =
            |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        match from_environment(find) {
            Ok(shard) => Ok(shard.map_or_else(|| "none".to_owned(), |s| s.to_string())),
            Err(e) => Err(e.to_string()),
        }
    }

    #[test]
    fn each_orchestrator_is_understood() {
        assert_eq!(read_shard(&[]).unwrap(), "none");
        assert_eq!(read_shard(&[("MIMAWARI_SHARDS", "4")]).unwrap(), "none");
        let batch = [("AWS_BATCH_JOB_ARRAY_INDEX", "0"), ("AWS_BATCH_JOB_ARRAY_SIZE", "7")];
        assert_eq!(read_shard(&batch).unwrap(), "1/7");
        let id = [("AWS_BATCH_JOB_ID", "5f1c-77:6"), ("MIMAWARI_SHARDS", "7")];
        assert_eq!(read_shard(&id).unwrap(), "7/7");
        // A job that is no array job has an id without a number.
        assert_eq!(read_shard(&[("AWS_BATCH_JOB_ID", "5f1c-77")]).unwrap(), "none");
        let kubernetes = [("JOB_COMPLETION_INDEX", "2"), ("MIMAWARI_SHARDS", "3")];
        assert_eq!(read_shard(&kubernetes).unwrap(), "3/3");
    }

    #[test]
    fn half_a_shard_is_never_the_whole_plan() {
        let cases: [(&[(&str, &str)], &str); 4] = [
            (&[("JOB_COMPLETION_INDEX", "2")], "nothing says of how many"),
            (&[("JOB_COMPLETION_INDEX", "3"), ("MIMAWARI_SHARDS", "3")], "that there are 3"),
            (&[("JOB_COMPLETION_INDEX", "x\u{1b}"), ("MIMAWARI_SHARDS", "3")], "is no number"),
            (&[("AWS_BATCH_JOB_ARRAY_INDEX", "1"), ("MIMAWARI_SHARDS", "0")], "that there are 0"),
        ];
        for (variables, expected) in cases {
            let error = read_shard(variables).unwrap_err();
            assert!(error.contains(expected) && !error.contains('\u{1b}'), "{error}");
        }
    }
}
