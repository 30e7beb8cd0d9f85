# Rounds started by events: something got a public address, so it is scanned now and not tonight.
#
# What the call's event contains (CloudTrail; the account needs a trail with management events, and every region a
# rule of its own):
#
#   AllocateAddress          the Elastic IP itself; nothing answers there until it is associated
#   AssociateAddress         the association's and perhaps the allocation's id, no address: it is looked up
#   CreateNetworkInterface   the interface's id; a public address comes later if at all: looked up after a while
#   RunInstances             the interfaces' ids; public addresses are given after the answer: looked up likewise
#   CreateSubnet             its range. It is private unless your own public range is the VPC's: then it is scanned
#
# Every task of this module makes such an interface as well: the machine drops those first, for a round of one's own
# tasks would start the next one.
#
# So a small machine waits, looks the addresses up, and starts one round for each. An address outside owned_ranges
# is refused by Plan, and a refused round of the profile `event` ends quietly: it pages nobody. An event that comes twice
# makes the same names of executions, which Step Functions starts once.

locals {
  events = var.events.enabled ? 1 : 0

  event_pattern = {
    source      = ["aws.ec2"]
    detail-type = ["AWS API Call via CloudTrail"]
    detail = {
      eventSource = ["ec2.amazonaws.com"]
      eventName   = var.events.names
      # Calls that were refused made nothing.
      errorCode = [{ exists = false }]
    }
  }

  event_definition = templatefile("${path.module}/../stepfunctions/event.asl.json.tftpl", {
    machine = local.machine_arn
    # By these our own tasks are known: all have this group, and nothing else is in subnets made here.
    group       = aws_security_group.scanner.id
    own_subnets = aws_subnet.public[*].id
    wait        = var.events.wait_seconds
    ports       = var.events.ports
    tier        = tostring(var.events.tier)
  })
}

resource "aws_cloudwatch_event_rule" "created" {
  count          = local.events
  name           = "${var.name}-created"
  description    = "Something may have got a public address"
  event_bus_name = var.events.bus
  event_pattern  = jsonencode(local.event_pattern)
  tags           = local.tags
}

resource "aws_cloudwatch_event_target" "created" {
  count          = local.events
  rule           = aws_cloudwatch_event_rule.created[0].name
  event_bus_name = var.events.bus
  arn            = aws_sfn_state_machine.event[0].arn
  role_arn       = aws_iam_role.events[0].arn

  # Only what is needed: the event holds who called, and user data.
  input_transformer {
    input_paths = {
      id       = "$.id"
      name     = "$.detail.eventName"
      response = "$.detail.responseElements"
    }
    input_template = "{\"id\": <id>, \"name\": <name>, \"response\": <response>}"
  }

  dead_letter_config {
    arn = aws_sqs_queue.dead.arn
  }
  retry_policy {
    maximum_event_age_in_seconds = 3600
    maximum_retry_attempts       = 10
  }
}

resource "aws_sfn_state_machine" "event" {
  count      = local.events
  name       = "${var.name}-event"
  role_arn   = aws_iam_role.event_machine[0].arn
  type       = "STANDARD"
  definition = local.event_definition

  logging_configuration {
    log_destination        = "${aws_cloudwatch_log_group.machine["event"].arn}:*"
    include_execution_data = true
    level                  = "ERROR"
  }

  tracing_configuration {
    enabled = true
  }

  tags       = local.tags
  depends_on = [aws_iam_role_policy.event_machine]
}

resource "aws_iam_role" "events" {
  count              = local.events
  name               = "${var.name}-events"
  description        = "EventBridge: starts the machine that looks addresses up"
  assume_role_policy = jsonencode(local.trust_service["events"])
  tags               = local.tags
}

resource "aws_iam_role_policy" "events" {
  count = local.events
  name  = "events"
  role  = aws_iam_role.events[0].id
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Sid = "Start", Effect = "Allow", Action = ["states:StartExecution"], Resource = aws_sfn_state_machine.event[0].arn }]
  })
}

resource "aws_iam_role" "event_machine" {
  count              = local.events
  name               = "${var.name}-event-machine"
  description        = "Step Functions: looks public addresses up and starts rounds"
  assume_role_policy = jsonencode(local.trust_service["states"])
  tags               = local.tags
}

resource "aws_iam_role_policy" "event_machine" {
  count  = local.events
  name   = "event-machine"
  role   = aws_iam_role.event_machine[0].id
  policy = jsonencode(local.policy_event_machine)
}
