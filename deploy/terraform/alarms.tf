# Alarms. Two sources of figures:
#   - the machine reports RoundComplete (1 or 0) by profile at the end of every round;
#   - the reduce task reports what the run saw, in CloudWatch's embedded metric format, by vantage
#     ([[notify]] kind = "emf"; the names are in deploy/notify).

resource "aws_sns_topic" "alarms" {
  count             = var.alarms.topic_arn == null ? 1 : 0
  name              = "${var.name}-alarms"
  kms_master_key_id = local.kms_key_arn
  tags              = local.tags
}

resource "aws_sns_topic_policy" "alarms" {
  count = var.alarms.topic_arn == null ? 1 : 0
  arn   = aws_sns_topic.alarms[0].arn
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "Alarms"
      Effect    = "Allow"
      Principal = { Service = "cloudwatch.amazonaws.com" }
      Action    = "sns:Publish"
      Resource  = aws_sns_topic.alarms[0].arn
      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
    }]
  })
}

locals {
  topic = coalesce(var.alarms.topic_arn, try(aws_sns_topic.alarms[0].arn, null))

  vantage = { Vantage = var.vantage }
  # The machine of events too: if it fails, no new address is scanned, and there is no round that could report it.
  machines = merge(
    { machine = { StateMachineArn = local.machine_arn } },
    { for m in aws_sfn_state_machine.event : "event-machine" => { StateMachineArn = m.arn } },
  )
  # After how many hours without a complete round of any profile it is certain that something is wrong.
  silent_hours = try(min([for p in var.profiles : p.alarm_after_hours if p.alarm_after_hours != null && p.enabled && var.schedules_enabled]...), null)

  alarms = merge(
    # Nothing came for N hours: the schedule, AWS, the image or the network; whatever it was, nobody looked.
    { for name, p in var.profiles : "no-round-${name}" => {
      text      = "No round of the profile ${name} was complete for ${p.alarm_after_hours} h."
      namespace = local.namespace, metric = "RoundComplete", dimensions = { Profile = name }
      statistic = "Maximum", compare = "LessThanThreshold", threshold = 1
      period    = 3600, periods = p.alarm_after_hours, points = p.alarm_after_hours
      missing   = "breaching"
    } if p.alarm_after_hours != null && p.enabled && var.schedules_enabled },
    { for name, p in var.profiles : "round-incomplete-${name}" => {
      text      = "A round of the profile ${name} failed or was incomplete: what it did not cover, nobody saw."
      namespace = local.namespace, metric = "RoundComplete", dimensions = { Profile = name }
      statistic = "Minimum", compare = "LessThanThreshold", threshold = 1
      period    = 300, periods = 1, points = 1
      missing   = "ignore"
    } },
    merge([for machine, dimensions in local.machines : { for metric, text in {
      ExecutionsFailed   = "An execution failed: a round, or one that never became a round."
      ExecutionsTimedOut = "An execution ran out of time."
      ExecutionsAborted  = "An execution was stopped by hand."
      } : "${machine}-${metric}" => {
      text      = text
      namespace = "AWS/States", metric = metric, dimensions = dimensions
      statistic = "Sum", compare = "GreaterThanThreshold", threshold = 0
      period    = 300, periods = 1, points = 1
      missing   = "notBreaching"
    } }]...),
    # The alarms below live from the metrics in the log of the reduce task, and keep their state without them.
    { for hours in local.silent_hours[*] : "no-figures" => {
      text      = "No run reported its figures for ${hours} h: the alarms coverage, suspect, unverified and open-too-long have no data."
      namespace = local.namespace, metric = "Suspect", dimensions = local.vantage
      statistic = "SampleCount", compare = "LessThanThreshold", threshold = 1
      period    = 3600, periods = hours, points = hours
      missing   = "breaching"
    } },
    {
      dead-letters = {
        text      = "A schedule or an event could not start a round; its message is in the queue."
        namespace = "AWS/SQS", metric = "ApproximateNumberOfMessagesVisible", dimensions = { QueueName = aws_sqs_queue.dead.name }
        statistic = "Maximum", compare = "GreaterThanThreshold", threshold = 0
        period    = 300, periods = 1, points = 1
        missing   = "notBreaching"
      }
      coverage = {
        text      = "A run covered less than ${var.alarms.coverage_percent} % of its plan."
        namespace = local.namespace, metric = "Coverage", dimensions = local.vantage
        statistic = "Minimum", compare = "LessThanThreshold", threshold = var.alarms.coverage_percent
        period    = 3600, periods = 1, points = 1
        missing   = "ignore"
      }
      suspect = {
        text      = "A run is not trusted: canaries silent, or too many ports gone at once."
        namespace = local.namespace, metric = "Suspect", dimensions = local.vantage
        statistic = "Maximum", compare = "GreaterThanThreshold", threshold = 0
        period    = 3600, periods = 1, points = 1
        missing   = "ignore"
      }
      not-delivered = {
        text      = "A notifier could not be reached; see undelivered/ in the run, and `mimawari notify --retry`."
        namespace = local.namespace, metric = "DeliveryFailures", dimensions = local.vantage
        statistic = "Maximum", compare = "GreaterThanThreshold", threshold = 0
        period    = 3600, periods = 1, points = 1
        missing   = "ignore"
      }
      unverified = {
        text      = "A finding was not covered by any run for ${var.alarms.unverified_hours} h: nobody knows whether it is still there."
        namespace = local.namespace, metric = "OldestUnverified", dimensions = local.vantage
        statistic = "Maximum", compare = "GreaterThanThreshold", threshold = var.alarms.unverified_hours * 3600
        period    = 3600, periods = 1, points = 1
        missing   = "ignore"
      }
    },
  )
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each            = local.alarms
  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = "${each.value.text} What to do: deploy/RUNBOOK.md."
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  comparison_operator = each.value.compare
  threshold           = each.value.threshold
  period              = each.value.period
  evaluation_periods  = each.value.periods
  datapoints_to_alarm = each.value.points
  treat_missing_data  = each.value.missing
  alarm_actions       = [local.topic]
  ok_actions          = [local.topic]
  tags                = local.tags
}

# Open for too long. Only runs report figures, so an hour without a run repeats the last one (FILL). A finding that the
# hourly run does not cover is `unverified` until the nightly one sees it again: it is as open as before.
resource "aws_cloudwatch_metric_alarm" "open_too_long" {
  alarm_name          = "${var.name}-open-too-long"
  alarm_description   = "For ${var.alarms.open_hours} h there was always a finding open that nobody fixed, allowed or acknowledged. What to do: deploy/RUNBOOK.md."
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  evaluation_periods  = var.alarms.open_hours
  datapoints_to_alarm = var.alarms.open_hours
  treat_missing_data  = "notBreaching"
  alarm_actions       = [local.topic]
  ok_actions          = [local.topic]
  tags                = local.tags

  metric_query {
    id          = "untended"
    expression  = join(" - ", [join(" + ", [for id in ["open", "unverified", "resolving", "missing"] : "FILL(${id}, REPEAT)"]), "FILL(acknowledged, REPEAT)"])
    label       = "Open and not acknowledged"
    return_data = true
  }
  dynamic "metric_query" {
    for_each = {
      open         = "FindingsOpen"
      unverified   = "FindingsUnverified"
      resolving    = "FindingsResolving"
      missing      = "FindingsMissing"
      acknowledged = "FindingsAcknowledged"
    }
    content {
      id = metric_query.key
      metric {
        namespace   = local.namespace
        metric_name = metric_query.value
        dimensions  = local.vantage
        period      = 3600
        stat        = "Minimum"
      }
    }
  }
}
