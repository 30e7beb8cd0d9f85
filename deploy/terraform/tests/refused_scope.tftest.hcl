# What must be refused before anything is made, each by the variable that is wrong.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  image         = "ghcr.io/example/mimawari@sha256:0000000000000000000000000000000000000000000000000000000000000000"
  owned_ranges  = ["198.51.100.0/24"]
  authorised_by = "SEC-1042"
}

run "no_range" {
  command = plan
  variables {
    owned_ranges = []
  }
  expect_failures = [var.owned_ranges]
}

run "not_a_range" {
  command = plan
  variables {
    owned_ranges = ["198.51.100.0/33"]
  }
  expect_failures = [var.owned_ranges]
}

run "not_even_an_address" {
  command = plan
  variables {
    owned_ranges = ["example.jp"]
  }
  expect_failures = [var.owned_ranges]
}

run "host_bits" {
  command = plan
  variables {
    owned_ranges = ["198.51.100.7/24"]
  }
  expect_failures = [var.owned_ranges]
}

run "host_bits_v6" {
  command = plan
  variables {
    owned_ranges = ["2001:db8::7/64"]
    network      = { ipv6 = true }
  }
  expect_failures = [var.owned_ranges]
}

run "the_internet" {
  command = plan
  variables {
    owned_ranges = ["0.0.0.0/0"]
  }
  expect_failures = [var.owned_ranges]
}

run "wider_than_an_eighth" {
  command = plan
  variables {
    owned_ranges = ["64.0.0.0/7"]
  }
  expect_failures = [var.owned_ranges]
}

run "the_internet_v6" {
  command = plan
  variables {
    owned_ranges = ["::/0"]
    network      = { ipv6 = true }
  }
  expect_failures = [var.owned_ranges]
}

run "private" {
  command = plan
  variables {
    owned_ranges = ["10.1.0.0/16"]
  }
  expect_failures = [var.owned_ranges]
}

run "holds_private" {
  command = plan
  variables {
    owned_ranges = ["172.0.0.0/8"]
  }
  expect_failures = [var.owned_ranges]
}

run "private_v6" {
  command = plan
  variables {
    owned_ranges = ["fd00:1::/64"]
    network      = { ipv6 = true }
  }
  expect_failures = [var.owned_ranges]
}

run "loopback" {
  command = plan
  variables {
    owned_ranges = ["127.0.0.0/24"]
  }
  expect_failures = [var.owned_ranges]
}

run "twice" {
  command = plan
  variables {
    owned_ranges = ["198.51.100.0/24", "198.51.100.0/24"]
  }
  expect_failures = [var.owned_ranges]
}

run "v6_without_network" {
  command = plan
  variables {
    owned_ranges = ["2001:db8:10::/64"]
  }
  expect_failures = [var.network]
}

run "denied" {
  command = plan
  variables {
    denied_ranges = ["198.51.100.300"]
  }
  expect_failures = [var.denied_ranges]
}

run "nobody_allowed_it" {
  command = plan
  variables {
    authorised_by = " "
  }
  expect_failures = [var.authorised_by]
}

run "authorised_in_two_lines" {
  command = plan
  variables {
    authorised_by = "SEC-1\n[scope]"
  }
  expect_failures = [var.authorised_by]
}

run "a_tag" {
  command = plan
  variables {
    image = "ghcr.io/example/mimawari:latest"
  }
  expect_failures = [var.image]
}

run "no_tag" {
  command = plan
  variables {
    image = "ghcr.io/example/mimawari"
  }
  expect_failures = [var.image]
}

run "short_digest" {
  command = plan
  variables {
    image = "ghcr.io/example/mimawari@sha256:00"
  }
  expect_failures = [var.image]
}

run "architecture" {
  command = plan
  variables {
    architecture = "arm64"
  }
  expect_failures = [var.architecture]
}

run "cpu" {
  command = plan
  variables {
    scan_size = { cpu = 999, memory = 1024 }
  }
  expect_failures = [var.scan_size]
}

run "memory" {
  command = plan
  variables {
    scan_size = { cpu = 256, memory = 4096 }
  }
  expect_failures = [var.scan_size]
}

run "memory_step" {
  command = plan
  variables {
    reduce_size = { cpu = 8192, memory = 17408 }
  }
  expect_failures = [var.reduce_size]
}

run "disk" {
  command = plan
  variables {
    ephemeral_gib = 10
  }
  expect_failures = [var.ephemeral_gib]
}

run "insights" {
  command = plan
  variables {
    container_insights = "on"
  }
  expect_failures = [var.container_insights]
}

run "rate" {
  command = plan
  variables {
    scan = { rate = 0 }
  }
  expect_failures = [var.scan]
}

run "recall" {
  command = plan
  variables {
    scan = { recall = 1 }
  }
  expect_failures = [var.scan]
}

run "canary" {
  command = plan
  variables {
    scan = { canaries = ["198.51.100.10"] }
  }
  expect_failures = [var.scan]
}

run "path_upwards" {
  command = plan
  variables {
    config_files = { "../x" = "" }
  }
  expect_failures = [var.config_files]
}

run "path_absolute" {
  command = plan
  variables {
    config_files = { "/x" = "" }
  }
  expect_failures = [var.config_files]
}

run "patrol_toml" {
  command = plan
  variables {
    config_files = { "patrol.toml" = "" }
  }
  expect_failures = [var.config_files]
}

run "scope_by_the_back_door" {
  command = plan
  variables {
    config_extra = "[scope]\nallow = [\"192.0.2.0/24\"]"
  }
  expect_failures = [var.config_extra]
}

run "profile_name" {
  command = plan
  variables {
    profiles = { "Hourly" = { schedule = "rate(1 hour)" } }
  }
  expect_failures = [var.profiles]
}

run "profile_taken" {
  command = plan
  variables {
    profiles = { event = { schedule = "rate(1 hour)" } }
  }
  expect_failures = [var.profiles]
}

run "schedule" {
  command = plan
  variables {
    profiles = { x = { schedule = "0 * * * *" } }
  }
  expect_failures = [var.profiles]
}

run "more_ipv6_than_anybody_sweeps" {
  command = plan
  variables {
    owned_ranges = ["198.51.100.0/24", "2001:db8:10::/64"]
    network      = { ipv6 = true }
  }
  expect_failures = [aws_s3_object.config]
}
