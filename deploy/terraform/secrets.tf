# Secrets of the notifiers. Only the reduce task gets them: what faces the network has none to lose.

resource "aws_secretsmanager_secret" "this" {
  for_each                = var.secrets
  name                    = "${var.name}/${each.key}"
  description             = each.value
  kms_key_id              = local.kms_key_arn
  recovery_window_in_days = 30
  tags                    = local.tags
}

locals {
  # valueFrom of the task definition: environment variable to ARN, perhaps with a JSON key behind it.
  secret_refs = merge({ for k, s in aws_secretsmanager_secret.this : k => s.arn }, var.secret_arns)
  # The ARNs themselves, for the policy: seven parts, without what may stand behind them.
  secret_resources = concat(
    [for k in sort(keys(var.secrets)) : aws_secretsmanager_secret.this[k].arn],
    distinct([for k in sort(keys(var.secret_arns)) : join(":", slice(split(":", var.secret_arns[k]), 0, 7))]),
  )
}
