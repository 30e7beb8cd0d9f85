# The examples, made with a provider that makes nothing. check/rendered.py reads what they became.

mock_provider "aws" {
  source = "./tests/mocks"
}

run "minimal" {
  command = apply
  module {
    source = "./examples/minimal"
  }
}

run "complete" {
  command = apply
  module {
    source = "./examples/complete"
  }
}
