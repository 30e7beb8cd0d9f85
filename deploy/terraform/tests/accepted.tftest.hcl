# What must be accepted, and what follows from it.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  image         = "ghcr.io/example/mimawari@sha256:0000000000000000000000000000000000000000000000000000000000000000"
  owned_ranges  = ["198.51.100.0/24"]
  authorised_by = "SEC-1042"
}

run "the_least" {
  command = plan

  assert {
    condition     = length(aws_scheduler_schedule.profile) == 3 && alltrue([for s in aws_scheduler_schedule.profile : s.state == "ENABLED"])
    error_message = "Three profiles, all enabled."
  }
  assert {
    condition     = jsondecode(aws_scheduler_schedule.profile["nightly"].target[0].input) == { profile = "nightly", round = "nightly-<aws.scheduler.scheduled-time>", shards = 4, targets = "", ports = "all", tier = "2", rate = "" }
    error_message = "The input of an execution."
  }
  assert {
    condition     = strcontains(aws_scheduler_schedule.profile["hourly"].target[0].input, "<aws.scheduler.scheduled-time>")
    error_message = "Scheduler must find its keyword as it is written."
  }
  assert {
    condition     = length(aws_subnet.public) == 2 && length(aws_network_acl_rule.in) == 4 && length(aws_network_acl_rule.out) == 2
    error_message = "Two zones; in: answers, https, two of ICMP; out: probes, https."
  }
  assert {
    condition     = alltrue([for k, a in aws_cloudwatch_metric_alarm.this : a.period * a.evaluation_periods <= 604800 && (a.period >= 3600 || a.period * a.evaluation_periods <= 86400)])
    error_message = "CloudWatch looks back a week by the hour, and a day by less."
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.this["no-round-hourly"].treat_missing_data == "breaching" && aws_cloudwatch_metric_alarm.this["no-round-hourly"].evaluation_periods == 3
    error_message = "Silence is an alarm."
  }
  assert {
    condition     = !contains(keys(aws_cloudwatch_metric_alarm.this), "no-round-weekly") && contains(keys(aws_cloudwatch_metric_alarm.this), "round-incomplete-weekly")
    error_message = "A weekly profile: its failures alone."
  }
  assert {
    condition     = length(aws_cloudwatch_event_rule.created) == 0 && length(aws_iam_role.github) == 0 && length(aws_secretsmanager_secret.this) == 0
    error_message = "Nothing that nobody asked for."
  }
}

run "schedules_off" {
  command = plan
  variables {
    schedules_enabled = false
  }
  assert {
    condition     = alltrue([for s in aws_scheduler_schedule.profile : s.state == "DISABLED"]) && !contains(keys(aws_cloudwatch_metric_alarm.this), "no-round-hourly")
    error_message = "Nothing fires, and nobody is woken for it."
  }
}

run "private_by_intent" {
  command = plan
  variables {
    owned_ranges         = ["10.1.0.0/16", "fd00:1::/64"]
    scan_keys            = "targets = [\"10.1.0.0/16\", \"fd00:1::10\"]"
    allow_private_ranges = true
    network              = { subnet_ids = ["subnet-1"], vpc_id = "vpc-1", assign_public_ip = false }
  }
  assert {
    condition     = length(aws_vpc.this) == 0 && length(aws_network_acl.scanner) == 0 && length(aws_network_acl_rule.in) == 0
    error_message = "Your own network is left alone."
  }
}

run "both_families" {
  command = plan
  variables {
    owned_ranges = ["198.51.100.0/24", "2001:DB8:0::/64"]
    profiles     = { x = { schedule = "rate(1 hour)", targets = ["198.51.100.0/24"] } }
    network      = { ipv6 = true, zones = 3 }
  }
  assert {
    condition     = length(aws_route.ipv6) == 1 && length(aws_network_acl_rule.in) == 9 && length(aws_network_acl_rule.out) == 4
    error_message = "IPv6 goes by the internet gateway, and has its rules."
  }
}

run "as_many_ranges_as_fit" {
  command = plan
  variables {
    owned_ranges = [for i in range(15) : "198.51.${i}.0/24"]
  }
}

run "more_by_aggregation" {
  command = plan
  variables {
    owned_ranges = [for i in range(200) : "198.51.${i}.0/24"]
    acl          = { ranges = ["198.51.0.0/16"] }
  }
}

run "more_without_acl" {
  command = plan
  variables {
    owned_ranges = [for i in range(200) : "198.51.${i}.0/24"]
    acl          = { enabled = false }
  }
}

run "a_single_address" {
  command = plan
  variables {
    owned_ranges = ["198.51.100.7/32"]
    profiles     = { x = { schedule = "rate(1 hour)", targets = ["198.51.100.7/32"], ports = "22,80-90", tier = 3, rate = 50 } }
  }
}

run "largest" {
  command = apply
  variables {
    scan_size    = { cpu = 16384, memory = 122880 }
    reduce_size  = { cpu = 256, memory = 512 }
    max_shards   = 400
    max_parallel = 40
  }
  assert {
    condition     = jsondecode(aws_sfn_state_machine.round.definition).TimeoutSeconds <= 31536000
    error_message = "An execution lives a year at most."
  }
}
