# One range, the default profiles, one task a round.

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

  image         = "ghcr.io/example/mimawari@sha256:0000000000000000000000000000000000000000000000000000000000000000"
  owned_ranges  = ["198.51.100.0/24"]
  authorised_by = "SEC-1042"
}

output "mimawari" {
  description = "What the runbook asks for."
  value       = module.mimawari
}
