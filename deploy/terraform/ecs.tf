# The cluster and two task definitions of one image: `scan` probes (and plans: it is the one that may write a plan),
# `reduce` merges, judges and notifies. They differ in role, size and secrets.

locals {
  # Fargate gives Docker's 14 capabilities. `drop: [ALL]` would take NET_RAW too, and Fargate can add none but
  # SYS_PTRACE: the scanner would be blind. So the other 13 are dropped by name. As the image's user is not root,
  # what is left is in force only through the file capability of the program.
  capabilities_dropped = [
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP",
    "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
  ]

  environment = {
    AWS_REGION          = local.region
    MIMAWARI_CONFIG     = "s3://${local.bucket}/config/patrol.toml"
    MIMAWARI_LOG_FORMAT = "json"
    MIMAWARI_WORK       = "/var/lib/mimawari"
    TMPDIR              = "/var/lib/mimawari"
  }

  tasks = {
    scan = {
      command = ["round", "scan"]
      size    = var.scan_size
      # No MIMAWARI_EXIT_ZERO here: a shard that was stopped ends with 3, and must be started again.
      environment = {}
      secrets     = {}
      # A log that stalls must not stall the sweep.
      log_mode = { mode = "non-blocking", max-buffer-size = "25m" }
    }
    reduce = {
      command = ["round", "reduce"]
      size    = var.reduce_size
      # Drift is no failure of the machine: the result reports it.
      environment = { MIMAWARI_EXIT_ZERO = "true" }
      secrets     = local.secret_refs
      # The metrics are a line of the log: none may be lost.
      log_mode = { mode = "blocking" }
    }
  }

  containers = { for name, t in local.tasks : name => [{
    name                   = "mimawari"
    image                  = var.image
    essential              = true
    command                = t.command
    user                   = "65532:65532"
    readonlyRootFilesystem = true
    # The most that Fargate gives between SIGTERM and SIGKILL: time to save.
    stopTimeout = 120
    environment = [for k, v in merge(local.environment, t.environment) : { name = k, value = v }]
    secrets     = [for k, v in t.secrets : { name = k, valueFrom = v }]
    # The image declares the path a volume owned by 65532; ECS keeps that owner for a volume of the task.
    mountPoints = [{ sourceVolume = "work", containerPath = "/var/lib/mimawari", readOnly = false }]
    linuxParameters = {
      capabilities = { drop = local.capabilities_dropped }
      # The program handles SIGTERM as process 1 and starts no others: an init would only be in between.
      initProcessEnabled = false
    }
    logConfiguration = {
      logDriver = "awslogs"
      options = merge({
        awslogs-group         = aws_cloudwatch_log_group.task[name].name
        awslogs-region        = local.region
        awslogs-stream-prefix = name
      }, t.log_mode)
    }
  }] }
}

resource "aws_ecs_cluster" "this" {
  name = var.name
  setting {
    name  = "containerInsights"
    value = var.container_insights
  }
  tags = local.tags
}

resource "aws_ecs_cluster_capacity_providers" "this" {
  cluster_name       = aws_ecs_cluster.this.name
  capacity_providers = var.spot ? ["FARGATE", "FARGATE_SPOT"] : ["FARGATE"]
}

resource "aws_ecs_task_definition" "this" {
  for_each                 = local.tasks
  family                   = "${var.name}-${each.key}"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = each.value.size.cpu
  memory                   = each.value.size.memory
  execution_role_arn       = aws_iam_role.execution[each.key].arn
  task_role_arn            = each.key == "scan" ? aws_iam_role.scan.arn : aws_iam_role.reduce.arn
  container_definitions    = jsonencode(local.containers[each.key])
  # A round that runs names its revision and finishes by it: an inactive one starts no task, not even Reduce.
  skip_destroy = true

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.architecture
  }

  volume {
    name = "work"
  }

  # 20 GiB is what a task has without being asked; the API takes 21 and more.
  dynamic "ephemeral_storage" {
    for_each = var.ephemeral_gib > 20 ? [var.ephemeral_gib] : []
    content {
      size_in_gib = ephemeral_storage.value
    }
  }

  tags = local.tags
}
