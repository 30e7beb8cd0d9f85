# What must be refused before anything is made, each by the variable that is wrong.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  image         = "ghcr.io/example/mimawari@sha256:0000000000000000000000000000000000000000000000000000000000000000"
  owned_ranges  = ["198.51.100.0/24"]
  authorised_by = "SEC-1042"
}

run "schedule_two_days" {
  command = plan
  variables {
    profiles = { x = { schedule = "cron(0 4 * * * *)" } }
  }
  expect_failures = [var.profiles]
}

run "shards" {
  command = plan
  variables {
    profiles = { x = { schedule = "rate(1 hour)", shards = 101 } }
  }
  expect_failures = [var.profiles]
}

run "shards_none" {
  command = plan
  variables {
    profiles = { x = { schedule = "rate(1 hour)", shards = 0 } }
  }
  expect_failures = [var.profiles]
}

run "tier" {
  command = plan
  variables {
    profiles = { x = { schedule = "rate(1 hour)", tier = 4 } }
  }
  expect_failures = [var.profiles]
}

run "ports" {
  command = plan
  variables {
    profiles = { x = { schedule = "rate(1 hour)", ports = "http" } }
  }
  expect_failures = [var.profiles]
}

run "profile_rate" {
  command = plan
  variables {
    profiles = { x = { schedule = "rate(1 hour)", rate = 0 } }
  }
  expect_failures = [var.profiles]
}

run "window" {
  command = plan
  variables {
    profiles = { x = { schedule = "rate(1 hour)", flexible_minutes = 1441 } }
  }
  expect_failures = [var.profiles]
}

run "alarm_beyond_a_week" {
  command = plan
  variables {
    profiles = { x = { schedule = "rate(1 hour)", alarm_after_hours = 192 } }
  }
  expect_failures = [var.profiles]
}

run "targets_outside" {
  command = plan
  variables {
    profiles = { x = { schedule = "rate(1 hour)", targets = ["192.0.2.0/24"] } }
  }
  expect_failures = [var.profiles]
}

run "targets_wider" {
  command = plan
  variables {
    profiles = { x = { schedule = "rate(1 hour)", targets = ["198.51.0.0/16"] } }
  }
  expect_failures = [var.profiles]
}

run "max_shards" {
  command = plan
  variables {
    max_shards = 401
  }
  expect_failures = [var.max_shards]
}

run "max_parallel" {
  command = plan
  variables {
    max_parallel = 41
  }
  expect_failures = [var.max_parallel]
}

run "scan_time" {
  command = plan
  variables {
    scan_timeout_minutes = 1
  }
  expect_failures = [var.scan_timeout_minutes]
}

run "reduce_time" {
  command = plan
  variables {
    reduce_timeout_minutes = 1
  }
  expect_failures = [var.reduce_timeout_minutes]
}

run "event" {
  command = plan
  variables {
    events = { names = ["DeleteSubnet"] }
  }
  expect_failures = [var.events]
}

run "event_wait" {
  command = plan
  variables {
    events = { wait_seconds = 0 }
  }
  expect_failures = [var.events]
}

run "any_repository" {
  command = plan
  variables {
    github = { repository = "example/*" }
  }
  expect_failures = [var.github]
}

run "any_branch" {
  command = plan
  variables {
    github = { repository = "example/x", ref = "*" }
  }
  expect_failures = [var.github]
}

run "any_environment" {
  command = plan
  variables {
    github = { repository = "example/x", scan_now_environment = "*" }
  }
  expect_failures = [var.github]
}

run "secret_name" {
  command = plan
  variables {
    secrets = { "AWS_SECRET_ACCESS_KEY" = "" }
  }
  expect_failures = [var.secrets]
}

run "secret_config" {
  command = plan
  variables {
    secrets = { "MIMAWARI_CONFIG" = "" }
  }
  expect_failures = [var.secrets]
}

run "secret_itself" {
  command = plan
  variables {
    secret_arns = { SLACK_WEBHOOK_URL = "https://hooks.example.jp/not-a-secret" }
  }
  expect_failures = [var.secret_arns]
}

run "secret_twice" {
  command = plan
  variables {
    secrets     = { A = "" }
    secret_arns = { A = "arn:aws:secretsmanager:ap-northeast-1:123456789012:secret:x" }
  }
  expect_failures = [var.secret_arns]
}

run "subnets_without_vpc" {
  command = plan
  variables {
    network = { subnet_ids = ["subnet-1"] }
  }
  expect_failures = [var.network]
}

run "vpc_range" {
  command = plan
  variables {
    network = { vpc_cidr = "10.0.0.0/28" }
  }
  expect_failures = [var.network]
}

run "zones" {
  command = plan
  variables {
    network = { zones = 0 }
  }
  expect_failures = [var.network]
}

run "no_way_out" {
  command = plan
  variables {
    network = { assign_public_ip = false }
  }
  expect_failures = [var.network]
}

run "acl_quota" {
  command = plan
  variables {
    acl = { rules = 41 }
  }
  expect_failures = [var.acl]
}

run "too_many_ranges" {
  command = plan
  variables {
    owned_ranges = [for i in range(20) : "198.51.${i}.0/24"]
  }
  expect_failures = [aws_network_acl.scanner]
}

run "acl_does_not_hold" {
  command = plan
  variables {
    acl = { ranges = ["203.0.113.0/24"] }
  }
  expect_failures = [aws_network_acl.scanner]
}

run "bucket_name" {
  command = plan
  variables {
    bucket_name = "a.b"
  }
  expect_failures = [var.bucket_name]
}

run "key_alias" {
  command = plan
  variables {
    kms_key_arn = "alias/x"
  }
  expect_failures = [var.kms_key_arn]
}

run "repository" {
  command = plan
  variables {
    ecr_repository_arn = "mimawari"
  }
  expect_failures = [var.ecr_repository_arn]
}

run "rounds_gone_too_soon" {
  command = plan
  variables {
    round_days = 1
  }
  expect_failures = [var.round_days]
}

run "versions_gone_too_soon" {
  command = plan
  variables {
    noncurrent_days = 1
  }
  expect_failures = [var.noncurrent_days]
}

run "log_days" {
  command = plan
  variables {
    log_days = 366
  }
  expect_failures = [var.log_days]
}

run "coverage" {
  command = plan
  variables {
    alarms = { coverage_percent = 0 }
  }
  expect_failures = [var.alarms]
}

run "open_hours" {
  command = plan
  variables {
    alarms = { open_hours = 200 }
  }
  expect_failures = [var.alarms]
}

run "unverified_hours" {
  command = plan
  variables {
    alarms = { unverified_hours = 0 }
  }
  expect_failures = [var.alarms]
}

run "pending_hours" {
  command = plan
  variables {
    alarms = { pending_hours = 0 }
  }
  expect_failures = [var.alarms]
}

run "name" {
  command = plan
  variables {
    name = "Mimawari"
  }
  expect_failures = [var.name]
}

run "vantage" {
  command = plan
  variables {
    vantage = ""
  }
  expect_failures = [var.vantage]
}

run "fewer_addresses_than_tasks" {
  command = plan
  variables {
    network      = { zones = 1 }
    max_parallel = 40
  }
  expect_failures = [aws_subnet.public]
}

run "a_table_in_scan_keys" {
  command = plan
  variables {
    scan_keys = "[http]\nenabled = false"
  }
  expect_failures = [var.scan_keys]
}

run "a_key_twice" {
  command = plan
  variables {
    scan_keys = "max_age = \"26h\"\nrate = 5"
  }
  expect_failures = [var.scan_keys]
}

run "a_plan_by_the_state" {
  command = plan
  variables {
    scan_keys = "rotate = \"1/24\""
  }
  expect_failures = [var.scan_keys]
}

run "name_servers_behind_the_acl" {
  command = plan
  variables {
    scan_keys = "nameservers = [\"192.0.2.53\"]"
  }
  expect_failures = [var.scan_keys]
}

run "a_table_in_http_keys" {
  command = plan
  variables {
    http_keys = "user_agent = \"x\"\n[scope]"
  }
  expect_failures = [var.http_keys]
}

run "vhosts_twice" {
  command = plan
  variables {
    http_keys = "vhosts = \"x.csv\""
  }
  expect_failures = [var.http_keys]
}

run "a_key_in_the_state" {
  command = plan
  variables {
    config_files = { "evidence.key" = "x" }
  }
  expect_failures = [var.config_files]
}
