"""Deliberate defects, and which check must find each. A check that finds none is no check."""
from typing import NamedTuple


class Mutation(NamedTuple):
    name: str
    file: str     # below deploy/
    old: str      # a regular expression; its first match is replaced
    new: str
    check: str    # which check must find it
    says: str     # and what it must say


M = Mutation
T, ROUND, EVENT = "terraform/", "stepfunctions/round.asl.json.tftpl", "stepfunctions/event.asl.json.tftpl"

MUTATIONS = [
    # The provider's schema, by the real program.
    M("an argument that there is not", T + "ecs.tf", r"network_mode( +)=", r"network_mod\1=", "validate", "Unsupported argument"),
    M("a required argument is gone", T + "ecs.tf", r"  family +=[^\n]*\n", "", "validate", "Missing required argument"),
    M("a nested block by another name", T + "storage.tf", "versioning_configuration {", "versioning {", "validate", "block"),
    M("a resource that there is not", T + "logs.tf", 'resource "aws_cloudwatch_log_group" "task"', 'resource "aws_cloudwatch_loggroup" "task"', "validate", "Invalid resource type"),
    M("a reference to nothing", T + "outputs.tf", r"aws_iam_policy\.operator\.arn", "aws_iam_policy.operators.arn", "validate", "undeclared resource"),
    M("a text where a number is due", T + "logs.tf", r"retention_in_days = var.log_days", 'retention_in_days = "a year"', "validate", "a number is required"),
    M("badly formatted", T + "logs.tf", r"  name +=", "  name =", "fmt", "retention_in_days"),
    # The variables.
    M("a tag is enough", T + "variables.tf", r'"\^\[\^@\\\\s\]\+@sha256:\[0-9a-f\]\{64\}\$"', '".*"', "test", "a_tag"),
    M("the Internet may be scanned", T + "variables.tf", r"\? 32 : 8\), true", "? 0 : 0), true", "test", "wider_than_an_eighth"),
    M("a plan that nobody can make", T + "storage.tf", r"length\(local.unsweepable\) == 0 \|\|", "true ||", "test", "more_ipv6_than_anybody_sweeps"),
    M("a plan by the state", T + "variables.tf", r"rotate\\", r"rotation\\", "test", "a_plan_by_the_state"),
    M("a zone more", T + "network.tf", r"cidrsubnet\(var.network.vpc_cidr, 3, count.index\)", "cidrsubnet(var.network.vpc_cidr, 3, 99)", "test", "the_least"),
    # Task definitions.
    M("drop ALL", T + "ecs.tf", r'"AUDIT_WRITE", "CHOWN"', '"ALL", "CHOWN"', "rendered", "blinds the scanner"),
    M("drop NET_RAW", T + "ecs.tf", '"MKNOD", ', '"MKNOD", "NET_RAW", ', "rendered", "NET_RAW must stay"),
    M("twelve dropped", T + "ecs.tf", '"MKNOD", ', "", "rendered", "task_definitions"),
    M("a capability added", T + "ecs.tf", r"capabilities = \{ drop", 'capabilities = { add = ["NET_ADMIN"], drop', "rendered", "Fargate adds none"),
    M("root", T + "ecs.tf", "65532:65532", "0:0", "rendered", "0:0"),
    M("a root that can be written", T + "ecs.tf", "readonlyRootFilesystem = true", "readonlyRootFilesystem = false", "rendered", "can be written"),
    M("a longer stop than there is", T + "ecs.tf", "stopTimeout = 120", "stopTimeout = 500", "rendered", "stopTimeout 500"),
    M("an interrupted shard is a success", T + "ecs.tf", r"environment = \{\}", 'environment = { MIMAWARI_EXIT_ZERO = "true" }', "rendered", "exit_statuses"),
    M("secrets for the scanner", T + "ecs.tf", r"secrets     = \{\}", "secrets = local.secret_refs", "rendered", "needs no secret"),
    M("one role for both tasks", T + "ecs.tf", r"execution_role_arn( +)= aws_iam_role.execution\[each.key\].arn", "execution_role_arn = aws_iam_role.scan.arn", "rendered", "task_definitions"),
    # Roles.
    M("a wildcard action", T + "iam.tf", r'\["s3:GetObject"\]', '["s3:Get*"]', "rendered", r"s3:Get\*"),
    M("a wildcard resource", T + "iam.tf", r'(Sid      = "Prune".*?Resource = )\["\$\{local.bucket_arn\}/state/\*"\]', r'\1"*"', "rendered", "Prune is for every resource|roles_apart"),
    M("scan writes results", T + "iam.tf", r'"\$\{local.bucket_arn\}/rounds/\*/shards/\*"', '"${local.bucket_arn}/rounds/*"', "rendered", "roles_apart"),
    M("scan reads the state", T + "iam.tf", r'(Resource = \["\$\{local.bucket_arn\}/config/\*", )', r'\1"${local.bucket_arn}/state/*", ', "rendered", "scan reads the state"),
    M("any role may be passed", T + "iam.tf", r'concat\(\s*\[aws_iam_role.scan.arn, aws_iam_role.reduce.arn\],', 'concat(\n["arn:aws:iam::123456789012:role/*"],', "rendered", "pass_role"),
    M("roles passed to anything", T + "iam.tf", r'        Condition = \{ StringEquals = \{ "iam:PassedToService" = "ecs-tasks.amazonaws.com" \} \}', '        Condition = { StringLike = { "iam:PassedToService" = "*" } }', "rendered", "pass_role"),
    M("tasks in any cluster", T + "iam.tf", r'\{ ArnEquals = \{ "ecs:cluster" = local.cluster_arn \} \}', '{ ArnEquals = { "ecs:cluster" = "*" } }', "rendered", "run_task"),
    M("publish from any branch", T + "iam.tf", r":ref:\$\{var.github.ref\}", ":*", "rendered", "trust"),
    M("pull requests write the state", T + "iam.tf", r"concat\(\[local.list.read, local.read_rounds\],", 'concat([local.list.read, merge(local.read_rounds, { Action = ["s3:GetObject", "s3:PutObject"] })],', "rendered", "the pull request's own"),
    M("pull requests publish", T + "iam.tf", r'\["publish", "settle"\] : name => \[', '["publish", "settle"] : name => ["repo:${var.github.repository}:pull_request", ', "rendered", "trusts"),
    M("publish writes the state", T + "iam.tf", r'(Sid      = "Publish".*?Resource = \["\$\{local.bucket_arn\}/)baseline', r"\1state", "rendered", "roles_apart"),
    M("settle cannot notify", T + "iam.tf", r"local.s3_kms, local.notify\)", "local.s3_kms)", "rendered", "settle cannot notify"),
    M("a variable that nobody reads", T + "outputs.tf", "MIMAWARI_ROUNDS  ", "MIMAWARI_ROUNDS_URL", "rendered", "set and not read"),
    M("anybody's service", T + "iam.tf", r'Action    = "sts:AssumeRole"\s*Condition = \{ StringEquals = \{ "aws:SourceAccount" = local.account \} \}', 'Action    = "sts:AssumeRole"', "rendered", "anybody's service"),
    # Bucket, network, logs.
    M("without TLS", T + "storage.tf", r'"aws:SecureTransport" = "false"', '"aws:SecureTransport" = "true"', "rendered", "bucket"),
    M("not versioned", T + "storage.tf", 'status = "Enabled"', 'status = "Suspended"', "rendered", "bucket"),
    M("public", T + "storage.tf", r"restrict_public_buckets = true", "restrict_public_buckets = false", "rendered", "bucket"),
    M("the state expires", T + "storage.tf", r"expired_object_delete_marker = true", "days = 30", "rendered", "would be lost"),
    M("tracked flows", T + "network.tf", r'(resource "aws_vpc_security_group_ingress_rule" "all" \{.*?ip_protocol       = )"-1"', r'\1"6"', "rendered", "tracked"),
    M("any port of anybody", T + "acl.tf", "from = 443, to = 443", "from = 0, to = 65535", "rendered", "network"),
    M("answers are cut off", T + "acl.tf", "from = 1024, to = 65535", "from = 32768, to = 60999", "rendered", "network"),
    M("silence is health", T + "alarms.tf", '"breaching"', '"notBreaching"', "rendered", "look like health"),
    M("an alarm of a metric that nobody writes", T + "alarms.tf", 'metric = "Coverage"', 'metric = "CoverageRatio"', "rendered", "CoverageRatio"),
    M("what the hourly run does not cover is not open", T + "alarms.tf", r'\["open", "unverified", ', '["open", ', "rendered", "stays open unseen"),
    M("the machine of events fails unheard", T + "alarms.tf", r"    \{ for m in aws_sfn_state_machine.event [^\n]*\n", "", "rendered", "fails unheard"),
    M("pages between two weekly rounds", T + "examples/complete/main.tf", "unverified_hours = 200", "unverified_hours = 72", "rendered", "pages between"),
    M("AWS's key for the topic", T + "alarms.tf", "kms_master_key_id = local.kms_key_arn", 'kms_master_key_id = "alias/aws/sns"', "rendered", "cannot publish"),
    M("the keyword is escaped", T + "schedules.tf", r"replace\(replace\((jsonencode\(local.schedule_inputs\[each.key\]\)).*?\n", r"\1\n", "rendered", "Scheduler would not see it"),
    M("no metrics", T + "templates/patrol.toml.tftpl", r'kind = "emf"', 'kind = "events"', "rendered", "live from the metrics"),
    M("Reduce is cut off by the clock", T + "stepfunctions.tf", r"time = 3600 \+ ceil\([^\n]*\n", "time = 3600\n", "rendered", "time_for_reduce"),
    M("Reduce on Spot", ROUND, r'("TaskDefinition": "\$\{task.reduce\}",\s*)"LaunchType": "FARGATE"', r'\1"CapacityProviderStrategy": [{"CapacityProvider": "FARGATE_SPOT"}]', "rendered", "machine"),
    # The machine of a round.
    M("a dead shard kills the round", ROUND, r'"Catch": \[\{ "ErrorEquals": \["States.ALL"\], "ResultPath": "\$.error", "Next": "ShardFailed" \}\],\s*', "", "machines", "graph|shard_dies"),
    M("no second attempt of a shard", ROUND, r'"MaxAttempts": 3, "MaxDelaySeconds": 300', '"MaxAttempts": 0, "MaxDelaySeconds": 300', "machines", "shard_dies|shard_interrupted"),
    M("long causes are kept", ROUND, r'"Parameters": \{ "shard.\$": "\$.shard", "ok": false \},\s*', "", "machines", "all_shards_die"),
    M("what tasks return is kept", ROUND, r'"ResultSelector": \{ "ok": true \},\s*', "", "machines", "large"),
    M("no shard list, no Reduce", ROUND, r'("ResultPath": "\$.read_error", "Next": )"Reduce"', r'\1"ReportNotReduced"', "machines", "no_shard_list|everything_once"),
    M("a claim of everybody", ROUND, r'"Value.\$": "\$\$.Execution.Id"', '"Value": "x"', "machines", "good"),
    M("a round taken is a failure", ROUND, r'"Default": "AlreadyUnderWay"', '"Default": "ReportNotPlanned"', "machines", "graph|taken"),
    M("another's round is scanned", ROUND, r'"StringEqualsPath": "\$\$.Execution.Id"', '"StringMatches": "*"', "machines", "taken"),
    M("another's plan is not waited for", ROUND, r'"IntervalSeconds": 10, "BackoffRate": 1.5, "MaxAttempts": 3', '"IntervalSeconds": 10, "BackoffRate": 1.5, "MaxAttempts": 1', "machines", "taken"),
    M("every failure of an event is quiet", ROUND, r',\s*\{ "Variable": "\$.plan_error.Cause", "StringMatches": [^\n]*\n', "\n", "machines", "refused"),
    M("every refusal is quiet", ROUND, r'\{ "Variable": "\$.profile", "StringEquals": "event" \},', "", "machines", "refused"),
    M("an incomplete round is a success", ROUND, r'\{ "Variable": "\$.read.result.incomplete", "BooleanEquals": false \},', "", "machines", "shard_dies|doubtful"),
    M("missing shards are a success", ROUND, r'\{ "Variable": "\$.read.result.missing_shards\[0\]", "IsPresent": false \},', "", "machines", "doubtful"),
    M("a metric decides", ROUND, r'("Value": 1, .*?"Catch": \[\{ "ErrorEquals": \["States.ALL"\], "ResultPath": null, "Next": )"Done"', r'\1"ReportIncomplete"', "machines", "no_metrics"),
    M("a state that nothing reaches", ROUND, r'"Next": "BadName" \},\s*\{ "Variable": "\$.round", "StringMatches": "\*:\*:\*", "Next": "NameOfTime" \}', '"Next": "BadName" }', "machines", "never reached"),
    M("a state that there is not", ROUND, r'"Next": "ReadResult"', '"Next": "ReadResults"', "machines", "which there is not"),
    M("for ever", ROUND, r'"TimeoutSeconds": 1800,', "", "machines", "may take for ever"),
    M("the name's colons stay", ROUND, r"States.Format\('\{\}-\{\}-\{\}'", "States.Format('{}:{}:{}'", "machines", "good"),
    M("a number as environment", ROUND, r'"shards.\$": "States.Format\(\'\{\}\', \$.in.shards\)"', '"shards.$": "$.in.shards"', "machines", "not all texts"),
    M("an event starts two rounds of a name", EVENT, r"'event-\{\}-\{\}', \$.id, \$\$.Map.Item.Index", "'event-{}', $.id", "machines", "events"),
    M("an event that came twice fails", EVENT, r'"StepFunctions.ExecutionAlreadyExistsException"', '"Other"', "machines", "events"),
    M("rounds beget rounds", EVENT, r'"StartAt": "Whose"', '"StartAt": "Wait"', "machines", "never reached|events"),
    M("rounds beget rounds, by another group", T + "events.tf", r"group       = aws_security_group.scanner.id", 'group       = "sg-0"', "rendered", "own tasks"),
    M("a round without a limit", ROUND, r'"Next": "TooManyShards"', '"Next": "Scan"', "machines", "too_many|never reached"),
    M("image that goes while a round runs", T + "ecs.tf", r"  skip_destroy +=[^\n]*\n", "", "rendered", "round that runs"),
    # By other people's programs.
    M("a key that Step Functions does not know", ROUND, r'"MaxConcurrency"', '"MaxConcurency"', "cfn", "MaxConcurency"),
    M("an architecture that there is not", T + "ecs.tf", r"cpu_architecture        = var.architecture", 'cpu_architecture = "SPARC"', "cfn", "SPARC"),
    M("public lists of access", T + "storage.tf", r"block_public_acls( +)= true", r"block_public_acls\1= false", "checkov", "CKV_AWS_53"),
]
