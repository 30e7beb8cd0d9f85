# Roles, each for one thing. No action is a wildcard; a resource is one only where AWS knows no other, and then a
# comment says so. Documents are JSON in the plan (not data sources), so that they are read in review and checked.
#
#   scan       reads config/, makes plans and shards under rounds/. No state, no secrets, no result.
#   reduce     reads all of it, writes results and state. Its execution role alone reads the secrets.
#   publish    the baseline repository's workflow on one branch: writes baseline/ and nothing else.
#   read       pull requests: what a change of the baseline would do to the last round. Writes nothing.
#   settle     after a merge: judges the last round again, saves what that changes in state/, and notifies it.
#   operator   a policy for people and for scan-now: starts a round, watches it, reads its result.

locals {
  s3_kms = var.bucket_kms ? [{
    Sid      = "BucketKey"
    Effect   = "Allow"
    Action   = ["kms:Decrypt", "kms:GenerateDataKey"]
    Resource = local.kms_key_arn
  }] : []

  list = { for name, prefixes in {
    scan     = ["config/*", "rounds/*", "baseline/*"]
    reduce   = ["config/*", "rounds/*", "baseline/*", "state/*"]
    publish  = ["baseline/*"]
    operator = ["config/*", "rounds/*"]
    read     = ["config/*", "rounds/*", "state/*"]
    settle   = ["config/*", "rounds/*", "state/*"]
    machine  = ["rounds/*"]
    } : name => {
    # Without it S3 answers 403 in place of 404, and a missing object looks like a missing right.
    Sid       = "List"
    Effect    = "Allow"
    Action    = ["s3:ListBucket"]
    Resource  = local.bucket_arn
    Condition = { StringLike = { "s3:prefix" = prefixes } }
  } }

  # Trust ----------------------------------------------------------------------------------------------------

  trust_task = {
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "ecs-tasks.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = {
        StringEquals = { "aws:SourceAccount" = local.account }
        ArnLike      = { "aws:SourceArn" = "arn:${local.partition}:ecs:${local.region}:${local.account}:*" }
      }
    }]
  }
  trust_service = { for service in ["states", "scheduler", "events"] : service => {
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "${service}.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
    }]
  } }

  # Documents ------------------------------------------------------------------------------------------------

  policy_scan = {
    Version = "2012-10-17"
    Statement = concat([
      local.list.scan,
      {
        Sid      = "Read"
        Effect   = "Allow"
        Action   = ["s3:GetObject"]
        Resource = ["${local.bucket_arn}/config/*", "${local.bucket_arn}/rounds/*", "${local.bucket_arn}/baseline/*"]
      },
      {
        # Its own kinds of objects alone: a task that faces the network cannot write a result.
        Sid    = "Write"
        Effect = "Allow"
        Action = ["s3:PutObject", "s3:AbortMultipartUpload"]
        Resource = [
          "${local.bucket_arn}/rounds/*/plan.json", "${local.bucket_arn}/rounds/*/shards.json",
          "${local.bucket_arn}/rounds/*/shards/*",
        ]
      },
    ], local.s3_kms)
  }

  # A role that saves the state also notifies what changed, so it needs what the notifiers need. On ECS the execution role reads the
  # secrets; the workflow that settles reads them itself.
  findings = var.security_hub ? [{
    Sid      = "Findings"
    Effect   = "Allow"
    Action   = ["securityhub:BatchImportFindings"]
    Resource = "arn:${local.partition}:securityhub:${local.region}:${local.account}:product/${local.account}/default"
  }] : []
  read_secrets = [for s in [
    {
      Sid      = "Secrets"
      Effect   = "Allow"
      Action   = ["secretsmanager:GetSecretValue"]
      Resource = local.secret_resources
    },
    {
      Sid      = "SecretsKey"
      Effect   = "Allow"
      Action   = ["kms:Decrypt"]
      Resource = local.kms_key_arn
    },
  ] : s if length(local.secret_refs) > 0]
  notify = concat(local.findings, local.read_secrets)

  policy_reduce = {
    Version = "2012-10-17"
    Statement = concat([
      local.list.reduce,
      {
        Sid    = "Read"
        Effect = "Allow"
        Action = ["s3:GetObject"]
        Resource = [
          "${local.bucket_arn}/config/*", "${local.bucket_arn}/rounds/*", "${local.bucket_arn}/baseline/*",
          "${local.bucket_arn}/state/*",
        ]
      },
      {
        Sid    = "Write"
        Effect = "Allow"
        Action = ["s3:PutObject", "s3:AbortMultipartUpload"]
        Resource = [
          "${local.bucket_arn}/rounds/*/result.json", "${local.bucket_arn}/rounds/*/run/*", "${local.bucket_arn}/state/*",
        ]
      },
      {
        # Pruning old steps of the state. The bucket is versioned.
        Sid      = "Prune"
        Effect   = "Allow"
        Action   = ["s3:DeleteObject"]
        Resource = ["${local.bucket_arn}/state/*"]
      },
    ], local.s3_kms, local.findings)
  }

  policy_execution = { for name in keys(local.tasks) : name => {
    Version = "2012-10-17"
    Statement = concat([
      {
        Sid      = "Logs"
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = "${aws_cloudwatch_log_group.task[name].arn}:*"
      }],
      [for s in [
        {
          Sid      = "Pull"
          Effect   = "Allow"
          Action   = ["ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer", "ecr:BatchGetImage"]
          Resource = var.ecr_repository_arn
        },
        {
          # The token is the account's: AWS knows no resource for it.
          Sid      = "PullToken"
          Effect   = "Allow"
          Action   = ["ecr:GetAuthorizationToken"]
          Resource = "*"
        },
      ] : s if var.ecr_repository_arn != null],
      [for s in local.read_secrets : s if name == "reduce"],
    )
  } }

  policy_machine = {
    Version = "2012-10-17"
    Statement = concat([
      {
        Sid       = "RunTask"
        Effect    = "Allow"
        Action    = ["ecs:RunTask"]
        Resource  = [for name in keys(local.tasks) : "arn:${local.partition}:ecs:${local.region}:${local.account}:task-definition/${var.name}-${name}:*"]
        Condition = { ArnEquals = { "ecs:cluster" = local.cluster_arn } }
      },
      {
        Sid       = "WatchTask"
        Effect    = "Allow"
        Action    = ["ecs:StopTask", "ecs:DescribeTasks"]
        Resource  = "arn:${local.partition}:ecs:${local.region}:${local.account}:task/${var.name}/*"
        Condition = { ArnEquals = { "ecs:cluster" = local.cluster_arn } }
      },
      {
        # The rule that reports a task's end to Step Functions, which makes and names it itself.
        Sid      = "TaskEvents"
        Effect   = "Allow"
        Action   = ["events:PutTargets", "events:PutRule", "events:DescribeRule"]
        Resource = "arn:${local.partition}:events:${local.region}:${local.account}:rule/StepFunctionsGetEventsForECSTaskRule"
      },
      {
        Sid    = "PassRoles"
        Effect = "Allow"
        Action = ["iam:PassRole"]
        Resource = concat(
          [aws_iam_role.scan.arn, aws_iam_role.reduce.arn],
          [for name in sort(keys(local.tasks)) : aws_iam_role.execution[name].arn],
        )
        Condition = { StringEquals = { "iam:PassedToService" = "ecs-tasks.amazonaws.com" } }
      },
      local.list.machine,
      {
        Sid      = "ReadResult"
        Effect   = "Allow"
        Action   = ["s3:GetObject"]
        Resource = ["${local.bucket_arn}/rounds/*/shards.json", "${local.bucket_arn}/rounds/*/result.json"]
      },
      {
        # A metric is no resource to AWS; the namespace is what can be narrowed.
        Sid       = "RoundMetric"
        Effect    = "Allow"
        Action    = ["cloudwatch:PutMetricData"]
        Resource  = "*"
        Condition = { StringEquals = { "cloudwatch:namespace" = local.namespace } }
      },
    ], local.machine_logs, var.bucket_kms ? [{ Sid = "BucketKey", Effect = "Allow", Action = ["kms:Decrypt"], Resource = local.kms_key_arn }] : [])
  }

  # Logs and traces of a state machine. AWS knows no resources for these actions:
  # https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html, .../xray-iam.html
  machine_logs = [
    {
      Sid    = "Logs"
      Effect = "Allow"
      Action = [
        "logs:CreateLogDelivery", "logs:GetLogDelivery", "logs:UpdateLogDelivery", "logs:DeleteLogDelivery",
        "logs:ListLogDeliveries", "logs:PutResourcePolicy", "logs:DescribeResourcePolicies", "logs:DescribeLogGroups",
      ]
      Resource = "*"
    },
    {
      Sid      = "Traces"
      Effect   = "Allow"
      Action   = ["xray:PutTraceSegments", "xray:PutTelemetryRecords", "xray:GetSamplingRules", "xray:GetSamplingTargets"]
      Resource = "*"
    },
  ]

  policy_event_machine = {
    Version = "2012-10-17"
    Statement = concat([
      {
        Sid      = "StartRound"
        Effect   = "Allow"
        Action   = ["states:StartExecution"]
        Resource = local.machine_arn
      },
      {
        # EC2's Describe actions know no resources.
        Sid      = "FindAddress"
        Effect   = "Allow"
        Action   = ["ec2:DescribeAddresses", "ec2:DescribeNetworkInterfaces"]
        Resource = "*"
      },
    ], local.machine_logs)
  }

  policy_scheduler = {
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "StartRound"
        Effect   = "Allow"
        Action   = ["states:StartExecution"]
        Resource = local.machine_arn
      },
      {
        Sid      = "DeadLetters"
        Effect   = "Allow"
        Action   = ["sqs:SendMessage"]
        Resource = aws_sqs_queue.dead.arn
      },
    ]
  }

  policy_publish = {
    Version = "2012-10-17"
    Statement = concat([
      local.list.publish,
      {
        # No DeleteObject: what was published stays.
        Sid      = "Publish"
        Effect   = "Allow"
        Action   = ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"]
        Resource = ["${local.bucket_arn}/baseline/*"]
      },
    ], local.s3_kms)
  }

  read_rounds = {
    Sid    = "Read"
    Effect = "Allow"
    Action = ["s3:GetObject"]
    Resource = [
      "${local.bucket_arn}/config/*", "${local.bucket_arn}/rounds/*/result.json", "${local.bucket_arn}/rounds/*/run/*",
      "${local.bucket_arn}/state/*",
    ]
  }

  policy_read = {
    Version = "2012-10-17"
    Statement = concat([local.list.read, local.read_rounds],
    var.bucket_kms ? [{ Sid = "BucketKey", Effect = "Allow", Action = ["kms:Decrypt"], Resource = local.kms_key_arn }] : [])
  }

  policy_settle = {
    Version = "2012-10-17"
    Statement = concat([local.list.settle, local.read_rounds, {
      Sid      = "Settle"
      Effect   = "Allow"
      Action   = ["s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
      Resource = ["${local.bucket_arn}/state/*"]
    }], local.s3_kms, local.notify)
  }

  policy_operator = {
    Version = "2012-10-17"
    Statement = concat([
      {
        Sid      = "Start"
        Effect   = "Allow"
        Action   = ["states:StartExecution", "states:ListExecutions"]
        Resource = local.machine_arn
      },
      {
        Sid      = "Watch"
        Effect   = "Allow"
        Action   = ["states:DescribeExecution", "states:GetExecutionHistory", "states:StopExecution"]
        Resource = local.execution_arn.round
      },
      local.list.operator,
      {
        Sid      = "Read"
        Effect   = "Allow"
        Action   = ["s3:GetObject"]
        Resource = ["${local.bucket_arn}/config/*", "${local.bucket_arn}/rounds/*/result.json", "${local.bucket_arn}/rounds/*/run/*"]
      },
      {
        # scan-now finds the machine by its tag; the tagging API knows no resources.
        Sid      = "Find"
        Effect   = "Allow"
        Action   = ["tag:GetResources"]
        Resource = "*"
      },
    ], var.bucket_kms ? [{ Sid = "BucketKey", Effect = "Allow", Action = ["kms:Decrypt"], Resource = local.kms_key_arn }] : [])
  }
}

# Tasks ------------------------------------------------------------------------------------------------------

resource "aws_iam_role" "scan" {
  name               = "${var.name}-scan"
  description        = "Task: reads the configuration, writes plans and shards"
  assume_role_policy = jsonencode(local.trust_task)
  tags               = local.tags
}

resource "aws_iam_role_policy" "scan" {
  name   = "scan"
  role   = aws_iam_role.scan.id
  policy = jsonencode(local.policy_scan)
}

resource "aws_iam_role" "reduce" {
  name               = "${var.name}-reduce"
  description        = "Task: merges, judges, saves the state, notifies"
  assume_role_policy = jsonencode(local.trust_task)
  tags               = local.tags
}

resource "aws_iam_role_policy" "reduce" {
  name   = "reduce"
  role   = aws_iam_role.reduce.id
  policy = jsonencode(local.policy_reduce)
}

# ECS itself: pulls the image, writes the log, hands over secrets. One for each task, as the secrets are reduce's.
resource "aws_iam_role" "execution" {
  for_each           = local.tasks
  name               = "${var.name}-execution-${each.key}"
  description        = "ECS: image, log and secrets of the task ${each.key}"
  assume_role_policy = jsonencode(local.trust_task)
  tags               = local.tags
}

resource "aws_iam_role_policy" "execution" {
  for_each = local.tasks
  name     = "execution"
  role     = aws_iam_role.execution[each.key].id
  policy   = jsonencode(local.policy_execution[each.key])
}

# Machinery --------------------------------------------------------------------------------------------------

resource "aws_iam_role" "machine" {
  name               = "${var.name}-machine"
  description        = "Step Functions: runs the tasks of a round"
  assume_role_policy = jsonencode(local.trust_service["states"])
  tags               = local.tags
}

resource "aws_iam_role_policy" "machine" {
  name   = "machine"
  role   = aws_iam_role.machine.id
  policy = jsonencode(local.policy_machine)
}

resource "aws_iam_role" "scheduler" {
  name               = "${var.name}-scheduler"
  description        = "EventBridge Scheduler: starts rounds"
  assume_role_policy = jsonencode(local.trust_service["scheduler"])
  tags               = local.tags
}

resource "aws_iam_role_policy" "scheduler" {
  name   = "scheduler"
  role   = aws_iam_role.scheduler.id
  policy = jsonencode(local.policy_scheduler)
}

# People and workflows ---------------------------------------------------------------------------------------

resource "aws_iam_policy" "operator" {
  name        = "${var.name}-operator"
  description = "Starts a round on demand, watches it and reads its result"
  policy      = jsonencode(local.policy_operator)
  tags        = local.tags
}

locals {
  oidc_host = "token.actions.githubusercontent.com"
  oidc_arn  = var.github == null ? null : coalesce(var.github.oidc_provider_arn, try(aws_iam_openid_connect_provider.github[0].arn, null))
  # StringEquals, no wildcard. A pull request's workflow is the pull request's own: its role must not write.
  github_subjects = var.github == null ? {} : merge(
    { for name in ["publish", "settle"] : name => ["repo:${var.github.repository}:ref:${var.github.ref}"] },
    { read = ["repo:${var.github.repository}:pull_request", "repo:${var.github.repository}:ref:${var.github.ref}"] },
    var.github.scan_now_environment == null ? {} : { scan-now = ["repo:${var.github.repository}:environment:${var.github.scan_now_environment}"] },
  )
}

locals {
  github_policies = {
    publish  = jsonencode(local.policy_publish)
    settle   = jsonencode(local.policy_settle)
    read     = jsonencode(local.policy_read)
    scan-now = jsonencode(local.policy_operator)
  }
}

resource "aws_iam_openid_connect_provider" "github" {
  count          = var.github != null && try(var.github.oidc_provider_arn, null) == null ? 1 : 0
  url            = "https://${local.oidc_host}"
  client_id_list = ["sts.amazonaws.com"]
  tags           = local.tags
}

resource "aws_iam_role" "github" {
  for_each             = local.github_subjects
  name                 = "${var.name}-${each.key}"
  description          = "GitHub Actions: ${each.key}"
  max_session_duration = 3600
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Federated = local.oidc_arn }
      Action    = "sts:AssumeRoleWithWebIdentity"
      Condition = { StringEquals = {
        "${local.oidc_host}:aud" = "sts.amazonaws.com"
        "${local.oidc_host}:sub" = each.value
      } }
    }]
  })
  tags = local.tags
}

resource "aws_iam_role_policy" "github" {
  for_each = local.github_subjects
  name     = each.key
  role     = aws_iam_role.github[each.key].id
  policy   = local.github_policies[each.key]
}
