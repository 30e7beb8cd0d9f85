# One schedule a profile. Delivery is at least once: the round's name is made of the scheduled time, so a second
# delivery finds the round taken and ends quietly.

resource "aws_sqs_queue" "dead" {
  name                      = "${var.name}-dead-letters"
  message_retention_seconds = 1209600
  sqs_managed_sse_enabled   = true
  tags                      = local.tags
}

resource "aws_scheduler_schedule_group" "this" {
  name = var.name
  tags = local.tags
}

locals {
  schedule_inputs = { for name, p in var.profiles : name => {
    profile = name
    # Scheduler puts the time in. The program makes `-` of the `:` in it.
    round   = "${name}-<aws.scheduler.scheduled-time>"
    shards  = p.shards
    targets = join(",", p.targets)
    ports   = p.ports
    tier    = p.tier == null ? "" : tostring(p.tier)
    rate    = p.rate == null ? "" : tostring(p.rate)
  } }
}

resource "aws_scheduler_schedule" "profile" {
  for_each                     = var.profiles
  name                         = each.key
  group_name                   = aws_scheduler_schedule_group.this.name
  description                  = "A round of the profile ${each.key}"
  schedule_expression          = each.value.schedule
  schedule_expression_timezone = each.value.timezone
  state                        = var.schedules_enabled && each.value.enabled ? "ENABLED" : "DISABLED"

  flexible_time_window {
    mode                      = each.value.flexible_minutes > 0 ? "FLEXIBLE" : "OFF"
    maximum_window_in_minutes = each.value.flexible_minutes > 0 ? each.value.flexible_minutes : null
  }

  target {
    arn      = aws_sfn_state_machine.round.arn
    role_arn = aws_iam_role.scheduler.arn
    # jsonencode() writes < and > as \u003c and \u003e, and Scheduler looks for the characters.
    input = replace(replace(jsonencode(local.schedule_inputs[each.key]), "\\u003c", "<"), "\\u003e", ">")

    dead_letter_config {
      arn = aws_sqs_queue.dead.arn
    }
    # It covers the call alone; what becomes of the round is the machine's business.
    retry_policy {
      maximum_event_age_in_seconds = 3600
      maximum_retry_attempts       = 10
    }
  }
}

# Scheduler sends as its role; the event rule as the service.
resource "aws_sqs_queue_policy" "dead" {
  queue_url = aws_sqs_queue.dead.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat([
      {
        Sid       = "TlsOnly"
        Effect    = "Deny"
        Principal = "*"
        Action    = "sqs:*"
        Resource  = aws_sqs_queue.dead.arn
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      }],
      [for rule in aws_cloudwatch_event_rule.created[*].arn : {
        Sid       = "Events"
        Effect    = "Allow"
        Principal = { Service = "events.amazonaws.com" }
        Action    = "sqs:SendMessage"
        Resource  = aws_sqs_queue.dead.arn
        Condition = { ArnEquals = { "aws:SourceArn" = rule } }
      }],
    )
  })
}
