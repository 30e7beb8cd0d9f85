# What AWS would answer, as far as something is computed from it.

mock_data "aws_caller_identity" {
  defaults = {
    account_id = "123456789012"
  }
}

mock_data "aws_partition" {
  defaults = {
    partition = "aws"
  }
}

mock_data "aws_region" {
  defaults = {
    region = "ap-northeast-1"
  }
}

mock_data "aws_availability_zones" {
  defaults = {
    names = ["ap-northeast-1a", "ap-northeast-1c", "ap-northeast-1d"]
  }
}

mock_resource "aws_vpc" {
  defaults = {
    ipv6_cidr_block = "2001:db8:ff00::/56"
  }
}
