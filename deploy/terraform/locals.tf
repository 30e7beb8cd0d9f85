data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  region    = data.aws_region.current.region

  tags = merge({ Service = "mimawari" }, var.tags)

  # What Fargate sells: CPU units to MiB.
  # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-cpu-memory-error.html
  fargate_memory = {
    "256"   = [512, 1024, 2048]
    "512"   = [for g in range(1, 5) : g * 1024]
    "1024"  = [for g in range(2, 9) : g * 1024]
    "2048"  = [for g in range(4, 17) : g * 1024]
    "4096"  = [for g in range(8, 31) : g * 1024]
    "8192"  = [for g in range(16, 61, 4) : g * 1024]
    "16384" = [for g in range(32, 121, 8) : g * 1024]
  }
  fargate_sizes = join("; ", [
    "It has 256 with 512, 1024, 2048", "512 with 1024 to 4096", "1024 with 2048 to 8192", "2048 with 4096 to 16384",
    "4096 with 8192 to 30720", "8192 with 16384 to 61440 in steps of 4096", "16384 with 32768 to 122880 in steps of 8192.",
  ])

  # Not routed on the Internet (RFC 6890). Documentation ranges are not among them, so that examples can be tried.
  unrouted = [
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16",
    "224.0.0.0/4", "240.0.0.0/4", "::/8", "fc00::/7", "fe80::/10", "ff00::/8",
  ]
  bucket = coalesce(var.bucket_name, "${var.name}-${local.account}-${local.region}")
  # A name that is known before anything is made, so that policies can be read in the plan.
  bucket_arn = "arn:${local.partition}:s3:::${local.bucket}"

  cluster_arn = "arn:${local.partition}:ecs:${local.region}:${local.account}:cluster/${var.name}"
  machine     = "${var.name}-round"
  machine_arn = "arn:${local.partition}:states:${local.region}:${local.account}:stateMachine:${local.machine}"
  execution_arn = {
    round = "arn:${local.partition}:states:${local.region}:${local.account}:execution:${local.machine}:*"
  }

  kms_key_arn = var.kms_key_arn != null ? var.kms_key_arn : aws_kms_key.this[0].arn
}
