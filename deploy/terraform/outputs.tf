output "state_machine_arn" {
  description = "The machine of a round: what scan-now starts."
  value       = aws_sfn_state_machine.round.arn
}

output "bucket" {
  description = "The bucket of configuration, rounds, state and baseline."
  value       = aws_s3_bucket.this.bucket
}

output "baseline_url" {
  description = "`mimawari baseline publish --to` this."
  value       = "s3://${local.bucket}/baseline"
}

output "rounds_url" {
  description = "Where rounds are."
  value       = "s3://${local.bucket}/rounds"
}

output "operator_policy_arn" {
  description = "Attach it to the people and roles that may start a round."
  value       = aws_iam_policy.operator.arn
}

output "publish_role_arn" {
  description = "The role of the baseline repository's publish workflow; null without `github`."
  value       = try(aws_iam_role.github["publish"].arn, null)
}

output "settle_role_arn" {
  description = "The role that judges the last round again after a merge; null without `github`."
  value       = try(aws_iam_role.github["settle"].arn, null)
}

output "read_role_arn" {
  description = "The role of pull requests' plans and of prune: reads; null without `github`."
  value       = try(aws_iam_role.github["read"].arn, null)
}

output "scan_now_role_arn" {
  description = "The role of the scan-now workflow; null without an environment for it."
  value       = try(aws_iam_role.github["scan-now"].arn, null)
}

output "github_variables" {
  description = "Variables of the baseline repository (those of scan-now belong to its environment); null without `github`."
  value = var.github == null ? null : { for k, v in {
    MIMAWARI_READ_ROLE     = aws_iam_role.github["read"].arn
    MIMAWARI_PUBLISH_ROLE  = aws_iam_role.github["publish"].arn
    MIMAWARI_SETTLE_ROLE   = aws_iam_role.github["settle"].arn
    MIMAWARI_SCAN_ROLE     = try(aws_iam_role.github["scan-now"].arn, "")
    MIMAWARI_STATE_MACHINE = aws_sfn_state_machine.round.arn
    MIMAWARI_REGION        = local.region
    MIMAWARI_CONFIG        = "s3://${local.bucket}/config/patrol.toml"
    MIMAWARI_ROUNDS        = "s3://${local.bucket}/rounds"
    MIMAWARI_STATE         = "s3://${local.bucket}/state"
    MIMAWARI_BASELINE      = "s3://${local.bucket}/baseline"
    MIMAWARI_NOTIFY        = join("\n", [for k, arn in local.secret_refs : "${k}=${arn}"])
  } : k => v if v != "" }
}

output "secret_arns" {
  description = "Secrets to put values into: name of the environment variable to ARN."
  value       = { for k, s in aws_secretsmanager_secret.this : k => s.arn }
}

output "alarm_topic_arn" {
  description = "Where alarms go. Subscribe somebody."
  value       = local.topic
}

output "dead_letter_queue_url" {
  description = "What could not be started."
  value       = aws_sqs_queue.dead.url
}

output "task_definition_arns" {
  description = "For a task by hand, such as `selfcheck`."
  value       = { for k, t in aws_ecs_task_definition.this : k => t.arn }
}

output "cluster_name" {
  description = "The ECS cluster."
  value       = aws_ecs_cluster.this.name
}

output "subnet_ids" {
  description = "Where tasks run."
  value       = local.subnet_ids
}

output "security_group_id" {
  description = "What tasks run with."
  value       = aws_security_group.scanner.id
}

output "log_groups" {
  description = "Logs of the tasks."
  value       = { for k, g in aws_cloudwatch_log_group.task : k => g.name }
}

output "patrol_toml" {
  description = "The configuration as the tasks read it."
  value       = local.patrol_toml
}
