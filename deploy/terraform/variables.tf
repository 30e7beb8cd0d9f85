# What is scanned, and who allowed it ------------------------------------------------------------------------

variable "owned_ranges" {
  description = "The ranges that may be scanned, IPv4 and IPv6, as CIDR. They become [scope] allow, and the network ACL lets nothing else be probed."
  type        = list(string)

  validation {
    condition     = length(var.owned_ranges) > 0
    error_message = "owned_ranges is empty: name the ranges that you may scan, such as [\"198.51.100.0/24\"]."
  }
  validation {
    # The second half: no host bits. cidrhost() brings both sides into the same form.
    condition = alltrue([for r in var.owned_ranges : can(cidrhost(r, 0)) && try(
      cidrhost(r, 0) == cidrhost("${split("/", r)[0]}/${strcontains(r, ":") ? 128 : 32}", 0), false
    )])
    error_message = "owned_ranges holds something that is no network: ${join(", ", [for r in var.owned_ranges : r if !can(cidrhost(r, 0)) || !try(cidrhost(r, 0) == cidrhost("${split("/", r)[0]}/${strcontains(r, ":") ? 128 : 32}", 0), false)])}. Write address/length with the address at the beginning of its network, such as 198.51.100.0/24."
  }
  validation {
    condition     = alltrue([for r in var.owned_ranges : try(tonumber(split("/", r)[1]) >= (strcontains(r, ":") ? 32 : 8), true)])
    error_message = "owned_ranges holds a range wider than /8 (IPv6: /32). Nobody owns the Internet: name your own ranges."
  }
  validation {
    # Two ranges overlap if they are the same at the shorter of their lengths.
    condition = var.allow_private_ranges || !anytrue(flatten([for r in var.owned_ranges : [for u in local.unrouted : try(
      strcontains(r, ":") == strcontains(u, ":") && (
        cidrhost("${split("/", r)[0]}/${min(tonumber(split("/", r)[1]), tonumber(split("/", u)[1]))}", 0) ==
        cidrhost("${split("/", u)[0]}/${min(tonumber(split("/", r)[1]), tonumber(split("/", u)[1]))}", 0)
    ), false)]]))
    error_message = "owned_ranges holds a range that the Internet does not route (${join(", ", local.unrouted)}). Take it out, or set allow_private_ranges = true if the tasks reach it (from subnet_ids of your own)."
  }
  validation {
    condition     = length(distinct(var.owned_ranges)) == length(var.owned_ranges)
    error_message = "owned_ranges names a range twice."
  }
}

variable "denied_ranges" {
  description = "Ranges inside owned_ranges that are never scanned. Deny wins."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for r in var.denied_ranges : can(cidrhost(r, 0)) || can(cidrhost("${r}/${strcontains(r, ":") ? 128 : 32}", 0))])
    error_message = "denied_ranges holds something that is neither an address nor a range."
  }
}

variable "authorised_by" {
  description = "Who allowed the scan: a ticket, a contract. It is printed in every report."
  type        = string

  validation {
    condition     = length(trimspace(var.authorised_by)) >= 3 && !can(regex("[\\x00-\\x1f\"\\\\]", var.authorised_by))
    error_message = "authorised_by must name who allowed the scan (a ticket, a contract), in one line without quotes."
  }
}

variable "allow_private_ranges" {
  description = "Allows ranges in owned_ranges that the Internet does not route (10.0.0.0/8 and so on)."
  type        = bool
  default     = false
}

# Names ------------------------------------------------------------------------------------------------------

variable "name" {
  description = "Begins the name of everything that is made."
  type        = string
  default     = "mimawari"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,19}$", var.name)) && !endswith(var.name, "-")
    error_message = "name: 2 to 20 of a-z, 0-9 and -, beginning with a letter (the names of roles and buckets are made of it)."
  }
}

variable "tags" {
  description = "Tags for everything that is made."
  type        = map(string)
  default     = {}
}

variable "vantage" {
  description = "From where these tasks look: part of the identity of every finding. Change it only for another place."
  type        = string
  default     = "default"

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", var.vantage))
    error_message = "vantage: 1 to 64 of A-Z, a-z, 0-9, '.', '_' and '-'."
  }
}

# What runs --------------------------------------------------------------------------------------------------

variable "image" {
  description = "The image, by digest: registry/name@sha256:… A tag can be moved; a digest cannot."
  type        = string

  validation {
    condition     = can(regex("^[^@\\s]+@sha256:[0-9a-f]{64}$", var.image))
    error_message = "image must be named by its digest (registry/name@sha256:64 hexadecimal digits): a tag may be moved to another image, and what has CAP_NET_RAW in your account must not change unseen."
  }
}

variable "ecr_repository_arn" {
  description = "The ECR repository of the image, if it is one: the tasks may then pull from it. null for a public registry."
  type        = string
  default     = null

  validation {
    condition     = var.ecr_repository_arn == null || can(regex("^arn:aws[a-z-]*:ecr:[a-z0-9-]+:[0-9]{12}:repository/.+$", var.ecr_repository_arn))
    error_message = "ecr_repository_arn is no ARN of an ECR repository."
  }
}

variable "architecture" {
  description = "X86_64 or ARM64; the image must have it."
  type        = string
  default     = "X86_64"

  validation {
    condition     = contains(["X86_64", "ARM64"], var.architecture)
    error_message = "architecture is X86_64 or ARM64."
  }
}

variable "scan_size" {
  description = "CPU units and MiB of a task that scans, as Fargate sells them. `mimawari scan --plan` prints what a shard needs."
  type        = object({ cpu = number, memory = number })
  default     = { cpu = 512, memory = 1024 }

  validation {
    condition     = contains(lookup(local.fargate_memory, tostring(var.scan_size.cpu), []), var.scan_size.memory)
    error_message = "scan_size: Fargate has no task of ${var.scan_size.cpu} CPU units and ${var.scan_size.memory} MiB. ${local.fargate_sizes}"
  }
}

variable "reduce_size" {
  description = "CPU units and MiB of the task that merges, judges and reports."
  type        = object({ cpu = number, memory = number })
  default     = { cpu = 1024, memory = 2048 }

  validation {
    condition     = contains(lookup(local.fargate_memory, tostring(var.reduce_size.cpu), []), var.reduce_size.memory)
    error_message = "reduce_size: Fargate has no task of ${var.reduce_size.cpu} CPU units and ${var.reduce_size.memory} MiB. ${local.fargate_sizes}"
  }
}

variable "ephemeral_gib" {
  description = "Disk of a task, 20 to 200 GiB. 20 costs nothing."
  type        = number
  default     = 20

  validation {
    condition     = var.ephemeral_gib >= 20 && var.ephemeral_gib <= 200 && floor(var.ephemeral_gib) == var.ephemeral_gib
    error_message = "ephemeral_gib: a whole number from 20 to 200."
  }
}

variable "spot" {
  description = "Shards run on Fargate Spot: up to 70 % cheaper, and may be stopped with two minutes' notice; they save and go on. Plan and reduce never do."
  type        = bool
  default     = false
}

variable "container_insights" {
  description = "Container Insights of the cluster: disabled, enabled or enhanced (costs per metric)."
  type        = string
  default     = "disabled"

  validation {
    condition     = contains(["disabled", "enabled", "enhanced"], var.container_insights)
    error_message = "container_insights is disabled, enabled or enhanced."
  }
}

# Configuration ----------------------------------------------------------------------------------------------

variable "scan" {
  description = "Keys of [scan] for all profiles: rate (packets a second and task, a ceiling), recall, canaries (own ports known to be open, address:port)."
  type = object({
    rate     = optional(number, 10000)
    recall   = optional(number, 0.9999)
    canaries = optional(list(string), [])
  })
  default = {}

  validation {
    condition     = var.scan.rate >= 1 && var.scan.rate <= 1000000
    error_message = "scan.rate: 1 to 1000000 packets a second."
  }
  validation {
    condition     = var.scan.recall >= 0.9 && var.scan.recall <= 0.999999
    error_message = "scan.recall: 0.9 to 0.999999."
  }
  validation {
    condition     = alltrue([for c in var.scan.canaries : can(regex("^[0-9A-Fa-f.:\\[\\]]+:[0-9]{1,5}$", c))])
    error_message = "scan.canaries: address:port, such as 198.51.100.10:443."
  }
}

variable "scan_keys" {
  description = "More keys of [scan], lines of TOML, such as `rate_per_host = 200`, or `targets = [...]`: what is scanned of owned_ranges where a profile names nothing (of IPv6 the addresses in use, or prefixes of /112 and longer). Ceilings hold for each task: shards that run at once multiply them."
  type        = string
  default     = ""

  validation {
    condition     = !can(regex("(?m)^\\s*\\[", var.scan_keys))
    error_message = "scan_keys holds a table: here stand keys of [scan] alone; tables go into config_extra."
  }
  validation {
    condition     = !can(regex("(?m)^\\s*\"?(rate|recall|canaries|shard|part|ports)\"?\\s*=", var.scan_keys))
    error_message = "scan_keys: rate, recall and canaries stand in `scan`, ports and shards in `profiles`."
  }
  validation {
    condition     = !can(regex("(?m)^\\s*\"?rotate\"?\\s*=", var.scan_keys))
    error_message = "scan_keys: `rotate` makes the plan depend on the state, which a task that faces the network may not read. Use more shards, or profiles with fewer targets each."
  }
  validation {
    condition     = !can(regex("(?m)^\\s*\"?nameservers\"?\\s*=", var.scan_keys)) || !var.acl.enabled || length(var.network.subnet_ids) > 0
    error_message = "scan_keys: the network ACL lets no answers of `nameservers` through, and names would look as if they were not there. Use the VPC's resolver (leave it out), or acl = { enabled = false }."
  }
}

variable "http_keys" {
  description = "Keys of [http], lines of TOML: user_agent (your organisation, and an address for mail that is read), checks, manifests, evidence_key. The key's file goes into the bucket by hand, `aws s3 cp evidence.key s3://BUCKET/config/`: never through config_files."
  type        = string
  default     = ""

  validation {
    condition     = !can(regex("(?m)^\\s*\\[", var.http_keys))
    error_message = "http_keys holds a table: here stand keys of [http] alone; tables go into config_extra."
  }
  validation {
    condition     = !can(regex("(?m)^\\s*\"?(vhosts|tier)\"?\\s*=", var.http_keys))
    error_message = "http_keys: vhosts.csv is used if it is in config_files, and the tier is that of the profile."
  }
}

variable "config_files" {
  description = "More files beside patrol.toml, path to contents: vhosts.csv (used if it is there), checks, manifests. Contents land in Terraform's state: no secrets."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for p in keys(var.config_files) : can(regex("^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$", p))])
    error_message = "config_files: plain relative paths, such as vhosts.csv or checks/own.toml."
  }
  validation {
    condition     = !anytrue([for p in keys(var.config_files) : can(regex("(?i)\\.(key|pem)$", p))])
    error_message = "config_files holds a key: its contents would stand in Terraform's state. Put it into the bucket by hand: aws s3 cp FILE s3://BUCKET/config/."
  }
  validation {
    condition     = !contains(keys(var.config_files), "patrol.toml")
    error_message = "config_files: patrol.toml is written by this module (owned_ranges, authorised_by, scan); add your tables through config_extra."
  }
}

variable "config_extra" {
  description = "TOML behind the generated patrol.toml: [[notify]] tables and such."
  type        = string
  default     = ""

  validation {
    condition     = !can(regex("(?m)^\\s*\\[\\s*(scope|scan|http|baseline|state|rounds)\\s*\\]", var.config_extra))
    error_message = "config_extra: [scope], [scan], [http], [baseline], [state] and [rounds] are written by this module, and TOML allows a table once; keys of [scan] and [http] go into scan_keys and http_keys."
  }
}

# When it runs -----------------------------------------------------------------------------------------------

variable "profiles" {
  description = "What runs when. The key begins the round's name. alarm_after_hours: an alarm if no round was complete for so long (1 to 168, CloudWatch looks back no further; null: none)."
  type = map(object({
    schedule          = string
    timezone          = optional(string, "UTC")
    ports             = optional(string, "")
    tier              = optional(number)
    rate              = optional(number)
    shards            = optional(number, 1)
    targets           = optional(list(string), [])
    flexible_minutes  = optional(number, 0)
    enabled           = optional(bool, true)
    alarm_after_hours = optional(number)
  }))
  default = {
    hourly  = { schedule = "cron(5 * * * ? *)", ports = "top100", tier = 1, alarm_after_hours = 3 }
    nightly = { schedule = "cron(30 1 * * ? *)", ports = "all", tier = 2, shards = 4, flexible_minutes = 15, alarm_after_hours = 36 }
    weekly  = { schedule = "cron(0 4 ? * SUN *)", ports = "top1000", tier = 3, flexible_minutes = 30 }
  }

  validation {
    condition     = alltrue([for k in keys(var.profiles) : can(regex("^[a-z][a-z0-9-]{0,19}$", k)) && !contains(["event", "manual"], k)])
    error_message = "profiles: a name is 1 to 20 of a-z, 0-9 and -, and neither `event` nor `manual` (those are taken)."
  }
  validation {
    condition     = alltrue([for p in var.profiles : can(regex("^(cron\\([^ ()]+( [^ ()]+){5}\\)|rate\\([1-9][0-9]* (minute|minutes|hour|hours|day|days)\\))$", p.schedule))])
    error_message = "profiles: schedule is cron(minute hour day-of-month month day-of-week year) or rate(5 minutes)."
  }
  validation {
    # AWS wants a ? in one of the two day fields, and in one only.
    condition     = alltrue([for p in var.profiles : !startswith(p.schedule, "cron(") || try((split(" ", p.schedule)[2] == "?") != (split(" ", p.schedule)[4] == "?"), false)])
    error_message = "profiles: in a cron expression of AWS exactly one of day-of-month and day-of-week is `?`."
  }
  validation {
    condition     = alltrue([for p in var.profiles : p.shards >= 1 && p.shards <= var.max_shards && floor(p.shards) == p.shards])
    error_message = "profiles: shards is a whole number from 1 to max_shards."
  }
  validation {
    condition     = alltrue([for p in var.profiles : p.tier == null ? true : contains([1, 2, 3], p.tier)])
    error_message = "profiles: tier is 1, 2 or 3."
  }
  validation {
    condition     = alltrue([for p in var.profiles : p.ports == "" || can(regex("^(top100|top1000|all|[0-9]{1,5}(-[0-9]{1,5})?(,[0-9]{1,5}(-[0-9]{1,5})?)*)$", p.ports))])
    error_message = "profiles: ports is top100, top1000, all, or a list such as 22,80,8000-8100."
  }
  validation {
    condition     = alltrue([for p in var.profiles : p.rate == null ? true : p.rate >= 1 && p.rate <= 1000000])
    error_message = "profiles: rate is 1 to 1000000 packets a second."
  }
  validation {
    condition     = alltrue([for p in var.profiles : p.flexible_minutes >= 0 && p.flexible_minutes <= 1440])
    error_message = "profiles: flexible_minutes is 0 to 1440."
  }
  validation {
    condition     = alltrue([for p in var.profiles : p.alarm_after_hours == null ? true : p.alarm_after_hours >= 1 && p.alarm_after_hours <= 168])
    error_message = "profiles: alarm_after_hours is 1 to 168: CloudWatch looks back seven days at most. For a weekly profile leave it out; its failures raise an alarm all the same."
  }
  validation {
    # A task's overrides may have 8192 characters, and names, claim and brackets take some 700.
    condition     = alltrue([for p in var.profiles : length(join(",", p.targets)) <= 6000 && length(p.ports) <= 1000])
    error_message = "profiles: targets of a profile have more than 6000 characters, or its ports more than 1000; name fewer, wider ranges."
  }
  validation {
    condition = alltrue(flatten([for p in var.profiles : [for t in p.targets : anytrue([for r in var.owned_ranges : try(
      strcontains(t, ":") == strcontains(r, ":") && tonumber(split("/", t)[1]) >= tonumber(split("/", r)[1]) &&
    cidrhost("${split("/", t)[0]}/${split("/", r)[1]}", 0) == cidrhost(r, 0), false)])]]))
    error_message = "profiles: targets (as CIDR) must be inside owned_ranges: a plan outside the scope is refused."
  }
}

variable "schedules_enabled" {
  description = "false: no schedule fires. For the first rounds by hand, and for an emergency."
  type        = bool
  default     = true
}

variable "max_shards" {
  description = "No round is divided further. Up to 400: see the README for why."
  type        = number
  default     = 100

  validation {
    condition     = var.max_shards >= 1 && var.max_shards <= 400
    error_message = "max_shards: 1 to 400. The history of an execution holds 25,000 events, and a shard that is tried four times takes about 40."
  }
}

variable "max_parallel" {
  description = "Shards that run at the same time, up to 40. The rate of a round is this times scan.rate."
  type        = number
  default     = 10

  validation {
    condition     = var.max_parallel >= 1 && var.max_parallel <= 40
    error_message = "max_parallel: 1 to 40, what Step Functions runs at once in an inline map."
  }
}

variable "scan_timeout_minutes" {
  description = "A shard that takes longer is stopped, saved and tried again."
  type        = number
  default     = 360

  validation {
    condition     = var.scan_timeout_minutes >= 5 && var.scan_timeout_minutes <= 1440
    error_message = "scan_timeout_minutes: 5 to 1440."
  }
}

variable "reduce_timeout_minutes" {
  description = "Time for merging, judging and reporting."
  type        = number
  default     = 60

  validation {
    condition     = var.reduce_timeout_minutes >= 5 && var.reduce_timeout_minutes <= 720
    error_message = "reduce_timeout_minutes: 5 to 720."
  }
}

# On demand --------------------------------------------------------------------------------------------------

variable "events" {
  description = "A round when something gets a public address in this account and region (needs a CloudTrail trail with management events). names: which API calls start a round. wait_seconds: time for the machine to come up."
  type = object({
    enabled      = optional(bool, false)
    names        = optional(list(string), ["AllocateAddress", "AssociateAddress", "CreateNetworkInterface", "RunInstances", "CreateSubnet"])
    ports        = optional(string, "all")
    tier         = optional(number, 1)
    wait_seconds = optional(number, 180)
    bus          = optional(string, "default")
  })
  default = {}

  validation {
    condition     = length(var.events.names) > 0 && length(setsubtract(var.events.names, ["AllocateAddress", "AssociateAddress", "CreateNetworkInterface", "RunInstances", "CreateSubnet"])) == 0
    error_message = "events.names: some of AllocateAddress, AssociateAddress, CreateNetworkInterface, RunInstances and CreateSubnet."
  }
  validation {
    condition     = var.events.wait_seconds >= 10 && var.events.wait_seconds <= 3600
    error_message = "events.wait_seconds: 10 to 3600."
  }
}

variable "github" {
  description = "The baseline repository on GitHub, as owner/name. Its workflows get roles by OpenID Connect: publish and settle from `ref` alone, read from pull requests too, scan-now from the environment alone (null: no such role). oidc_provider_arn: null makes the provider; an account has one."
  type = object({
    repository           = string
    ref                  = optional(string, "refs/heads/main")
    scan_now_environment = optional(string)
    oidc_provider_arn    = optional(string)
  })
  default = null

  validation {
    condition     = var.github == null ? true : can(regex("^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$", var.github.repository))
    error_message = "github.repository: owner/name, and no wildcard: whoever matches it may publish the baseline."
  }
  validation {
    condition     = var.github == null ? true : can(regex("^refs/(heads|tags)/[A-Za-z0-9._/-]+$", var.github.ref))
    error_message = "github.ref: refs/heads/BRANCH or refs/tags/TAG, and no wildcard."
  }
  validation {
    condition     = try(var.github.scan_now_environment, null) == null ? true : can(regex("^[A-Za-z0-9._-]+$", var.github.scan_now_environment))
    error_message = "github.scan_now_environment: the name of one environment, and no wildcard."
  }
}

# Secrets ----------------------------------------------------------------------------------------------------

variable "secrets" {
  description = "Secrets that notifiers need: name of the environment variable to description. The module makes them empty; put the value in by hand, so that Terraform's state never holds it."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for k in keys(var.secrets) : can(regex("^[A-Z][A-Z0-9_]{0,63}$", k)) && !startswith(k, "AWS_") && !startswith(k, "MIMAWARI_")])
    error_message = "secrets: names of environment variables (A-Z, 0-9, _), and not AWS_… or MIMAWARI_…."
  }
}

variable "secret_arns" {
  description = "Secrets that exist already: name of the environment variable to valueFrom (ARN of a secret, or ARN:json-key::)."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for v in values(var.secret_arns) : can(regex("^arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[A-Za-z0-9/_+=.@-]+(:[^:]*:[^:]*:[^:]*)?$", v))])
    error_message = "secret_arns: an ARN of Secrets Manager each, with json-key:version-stage:version-id behind it or nothing."
  }
  validation {
    condition     = length(setintersection(keys(var.secret_arns), keys(var.secrets))) == 0 && alltrue([for k in keys(var.secret_arns) : can(regex("^[A-Z][A-Z0-9_]{0,63}$", k)) && !startswith(k, "AWS_") && !startswith(k, "MIMAWARI_")])
    error_message = "secret_arns: names of environment variables, not AWS_… or MIMAWARI_…, and not one that is in secrets too."
  }
}

variable "security_hub" {
  description = "The reduce task may import findings into Security Hub of this account and region."
  type        = bool
  default     = false
}

# Network ----------------------------------------------------------------------------------------------------

variable "network" {
  description = "subnet_ids and vpc_id: your own network instead of one made here. assign_public_ip: false only where another way out exists (a NAT gateway tracks connections: see the README)."
  type = object({
    subnet_ids       = optional(list(string), [])
    vpc_id           = optional(string)
    vpc_cidr         = optional(string, "10.83.0.0/24")
    zones            = optional(number, 2)
    ipv6             = optional(bool, false)
    assign_public_ip = optional(bool, true)
  })
  default = {}

  validation {
    condition     = (length(var.network.subnet_ids) == 0) == (var.network.vpc_id == null)
    error_message = "network: subnet_ids and vpc_id belong together; give both, or none for a network made here."
  }
  validation {
    condition     = can(cidrsubnet(var.network.vpc_cidr, 3, 7)) && try(tonumber(split("/", var.network.vpc_cidr)[1]) >= 16 && tonumber(split("/", var.network.vpc_cidr)[1]) <= 24, false)
    error_message = "network.vpc_cidr: an IPv4 range from /16 to /24."
  }
  validation {
    condition     = var.network.zones >= 1 && var.network.zones <= 6
    error_message = "network.zones: 1 to 6."
  }
  validation {
    condition     = var.network.ipv6 || length(var.network.subnet_ids) > 0 || !anytrue([for r in var.owned_ranges : strcontains(r, ":")])
    error_message = "owned_ranges has IPv6, and the network has none: set network = { ipv6 = true }."
  }
  validation {
    condition     = length(var.network.subnet_ids) > 0 || var.network.assign_public_ip
    error_message = "network: the network made here has no other way out than public addresses; assign_public_ip = false needs subnet_ids of your own."
  }
}

variable "acl" {
  description = "The network ACL of the network made here. ranges: fewer, wider ranges in place of owned_ranges, where those are too many for its rules. rules: your quota (20; AWS raises it to 40)."
  type = object({
    enabled = optional(bool, true)
    ranges  = optional(list(string))
    rules   = optional(number, 20)
  })
  default = {}

  validation {
    condition     = var.acl.rules >= 1 && var.acl.rules <= 40
    error_message = "acl.rules: AWS allows 40 at most."
  }
  # Enough rules, and every owned range held: preconditions in acl.tf.
}

# Storage and keys -------------------------------------------------------------------------------------------

variable "bucket_name" {
  description = "The bucket's name; null: made of name, account and region."
  type        = string
  default     = null

  validation {
    condition     = var.bucket_name == null || can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.bucket_name))
    error_message = "bucket_name: 3 to 63 of a-z, 0-9 and - (no dots: they break TLS names)."
  }
}

variable "bucket_kms" {
  description = "true: objects are encrypted with the KMS key; false: with S3's own (no cost per request)."
  type        = bool
  default     = false
}

variable "kms_key_arn" {
  description = "A KMS key of your own for logs, secrets, topic (and the bucket with bucket_kms); null: one is made. Its policy must allow what kms.tf allows."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/.+$", var.kms_key_arn))
    error_message = "kms_key_arn is no ARN of a KMS key (an alias will not do)."
  }
}

variable "round_days" {
  description = "Rounds (plans, shards, merged runs, reports) are kept so many days. State and baseline are kept for ever."
  type        = number
  default     = 90

  validation {
    condition     = var.round_days >= 7
    error_message = "round_days: 7 at least; a round that is redone after a weekend must find its shards."
  }
}

variable "noncurrent_days" {
  description = "Replaced and deleted versions of state, baseline and configuration are kept so many days."
  type        = number
  default     = 365

  validation {
    condition     = var.noncurrent_days >= 30
    error_message = "noncurrent_days: 30 at least; a mistake is repaired from them."
  }
}

variable "access_log_bucket" {
  description = "A bucket for S3's access logs; null: none (CloudTrail data events are the other way)."
  type        = string
  default     = null
}

variable "log_days" {
  description = "Logs are kept so many days."
  type        = number
  default     = 365

  validation {
    condition     = contains([30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_days)
    error_message = "log_days: 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288 or 3653; CloudWatch knows no others."
  }
}

# Alarms -----------------------------------------------------------------------------------------------------

variable "alarms" {
  description = "topic_arn: where alarms go; null: a topic is made. coverage_percent: less is an alarm. open_hours: findings neither fixed, allowed nor acknowledged for so long (1 to 168). unverified_hours: a finding not covered by any round for so long; more than the longest time between two rounds of a profile, here a week and a day."
  type = object({
    topic_arn        = optional(string)
    coverage_percent = optional(number, 99)
    open_hours       = optional(number, 72)
    unverified_hours = optional(number, 192)
  })
  default = {}

  validation {
    condition     = var.alarms.coverage_percent > 0 && var.alarms.coverage_percent <= 100
    error_message = "alarms.coverage_percent: more than 0, up to 100."
  }
  validation {
    condition     = var.alarms.open_hours >= 1 && var.alarms.open_hours <= 168
    error_message = "alarms.open_hours: 1 to 168; CloudWatch looks back seven days at most."
  }
  validation {
    condition     = var.alarms.unverified_hours >= 1
    error_message = "alarms.unverified_hours: 1 at least."
  }
}
