# The machine of a round: Plan, a Map over the shards, Reduce whatever became of them, and the result.
# The definition and why it is as it is: ../stepfunctions/round.asl.json.tftpl and the README.

locals {
  namespace = "mimawari"

  definition = templatefile("${path.module}/../stepfunctions/round.asl.json.tftpl", {
    cluster     = local.cluster_arn
    task        = { for name, t in aws_ecs_task_definition.this : name => t.arn }
    subnets     = jsonencode(local.subnet_ids)
    group       = aws_security_group.scanner.id
    public_ip   = var.network.assign_public_ip ? "ENABLED" : "DISABLED"
    bucket      = local.bucket
    namespace   = local.namespace
    shards      = 1
    most        = var.max_shards
    parallel    = var.max_parallel
    scan_time   = var.scan_timeout_minutes * 60
    reduce_time = var.reduce_timeout_minutes * 60
    # Longer than all its states may take together: it must never cut Reduce off.
    time = 3600 + ceil(var.max_shards / var.max_parallel) * 4 * (var.scan_timeout_minutes * 60 + 600) + 3 * (var.reduce_timeout_minutes * 60 + 600)
    # Shards may be taken away by AWS and are tried again; who plans and who judges is not.
    scan_launch = var.spot ? jsonencode({ CapacityProviderStrategy = [{ CapacityProvider = "FARGATE_SPOT", Weight = 1 }] }) : jsonencode({ LaunchType = "FARGATE" })
  })
}

resource "aws_sfn_state_machine" "round" {
  name       = local.machine
  role_arn   = aws_iam_role.machine.arn
  type       = "STANDARD"
  definition = local.definition

  logging_configuration {
    log_destination        = "${aws_cloudwatch_log_group.machine["round"].arn}:*"
    include_execution_data = true
    level                  = "ERROR"
  }

  tracing_configuration {
    enabled = true
  }

  tags       = local.tags
  depends_on = [aws_iam_role_policy.machine, aws_ecs_cluster_capacity_providers.this]
}
