# Everything: two families, Spot, four profiles, the event rule, notifiers, the baseline repository's roles.

terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.0"
    }
  }
}

provider "aws" {
  region = "ap-northeast-1"
}

module "mimawari" {
  source = "../.."

  name    = "watch"
  vantage = "internet-tokyo"
  tags    = { Team = "security" }

  owned_ranges  = ["198.51.100.0/24", "203.0.113.0/25", "2001:db8:10::/64"]
  denied_ranges = ["198.51.100.1"]
  authorised_by = "SEC-1042"

  image              = "123456789012.dkr.ecr.ap-northeast-1.amazonaws.com/mimawari@sha256:0000000000000000000000000000000000000000000000000000000000000000"
  ecr_repository_arn = "arn:aws:ecr:ap-northeast-1:123456789012:repository/mimawari"
  architecture       = "X86_64"
  scan_size          = { cpu = 1024, memory = 2048 }
  reduce_size        = { cpu = 2048, memory = 8192 }
  ephemeral_gib      = 40
  spot               = true
  container_insights = "enhanced"

  scan = {
    rate     = 10000
    canaries = ["198.51.100.10:443"]
  }
  scan_keys    = <<-EOT
    rate_per_host = 200
    targets = ["198.51.100.0/24", "203.0.113.0/25", "2001:db8:10::10", "2001:db8:10::25"]
  EOT
  http_keys    = <<-EOT
    user_agent = "exposure check of Example Corp; security@example.com"
    evidence_key = "evidence.key"
  EOT
  config_files = { "vhosts.csv" = file("${path.module}/vhosts.csv") }
  config_extra = <<-EOT
    [[notify]]
    kind = "slack"
    webhook_env = "SLACK_WEBHOOK_URL"
    min_severity = "medium"

    [[notify]]
    kind = "security-hub"
    account = "123456789012"
    region = "ap-northeast-1"
  EOT

  profiles = {
    hourly  = { schedule = "cron(5 * * * ? *)", ports = "top100", tier = 1, alarm_after_hours = 3 }
    nightly = { schedule = "cron(30 1 * * ? *)", timezone = "Asia/Tokyo", ports = "all", tier = 2, shards = 8, flexible_minutes = 15, alarm_after_hours = 36 }
    weekly  = { schedule = "cron(0 4 ? * SUN *)", timezone = "Asia/Tokyo", ports = "top1000", tier = 3, shards = 2 }
    edge    = { schedule = "rate(15 minutes)", ports = "22,80,443,3389", targets = ["198.51.100.0/26"], rate = 2000, alarm_after_hours = 1 }
  }
  max_parallel = 8

  events = { enabled = true }

  secrets      = { SLACK_WEBHOOK_URL = "Incoming webhook of the channel #exposure" }
  secret_arns  = { GITHUB_TOKEN = "arn:aws:secretsmanager:ap-northeast-1:123456789012:secret:mimawari/all-AbCdEf:github::" }
  security_hub = true

  github = {
    repository           = "example/exposure-baseline"
    scan_now_environment = "scan-now"
  }

  network    = { ipv6 = true, zones = 3 }
  acl        = { ranges = ["198.51.100.0/24", "203.0.113.0/24", "2001:db8:10::/64"], rules = 20 }
  bucket_kms = true
  round_days = 180

  alarms = { coverage_percent = 99.5, open_hours = 48, unverified_hours = 200 }
}

output "mimawari" {
  description = "What the runbook asks for."
  value       = module.mimawari
}
