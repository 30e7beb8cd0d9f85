resource "aws_cloudwatch_log_group" "task" {
  for_each          = toset(["scan", "reduce"])
  name              = "/${var.name}/${each.key}"
  retention_in_days = var.log_days
  kms_key_id        = local.kms_key_arn
  tags              = local.tags
}

# Step Functions writes only to groups of this prefix without a resource policy running over its length.
resource "aws_cloudwatch_log_group" "machine" {
  for_each          = toset(var.events.enabled ? ["round", "event"] : ["round"])
  name              = "/aws/vendedlogs/states/${var.name}-${each.key}"
  retention_in_days = var.log_days
  kms_key_id        = local.kms_key_arn
  tags              = local.tags
}
