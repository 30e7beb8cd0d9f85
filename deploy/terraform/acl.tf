# The network ACL: stateless, so it costs no table, and narrowed to what a task needs.
#
#   out  any TCP port of the owned ranges         probes, and connections that confirm what is open
#        443 of everywhere                        AWS's endpoints (ECR, logs, secrets, S3 by its public addresses
#                                                 although a gateway carries them), webhooks
#   in   1024-65535 from the owned ranges         answers: the sweep's own source ports are outside the kernel's range
#        32768-60999 from everywhere              answers from port 443; an ACL sees no source port, so this is the
#                                                 kernel's ephemeral range (net.ipv4.ip_local_port_range) and no more
#        ICMP unreachable and time exceeded       from any router of the path: they mean `prohibited`
#
# DNS (the VPC's resolver), DHCP, the task's metadata and the clock do not pass an ACL. [scan] nameservers of
# your own would need a rule for 53.
# An ACL cannot distinguish port 443 of the owned ranges from other people's: there the program's scope protects.

locals {
  acl_ranges = coalesce(var.acl.ranges, var.owned_ranges)
  acl_ranges_split = {
    ipv4 = [for r in local.acl_ranges : r if !strcontains(r, ":")]
    ipv6 = [for r in local.acl_ranges : r if strcontains(r, ":")]
  }
  families = var.network.ipv6 ? ["ipv4", "ipv6"] : ["ipv4"]

  outside_acl = [for o in var.owned_ranges : o if !anytrue([for a in local.acl_ranges : try(
    strcontains(o, ":") == strcontains(a, ":") && tonumber(split("/", o)[1]) >= tonumber(split("/", a)[1]) &&
  cidrhost("${split("/", o)[0]}/${split("/", a)[1]}", 0) == cidrhost(a, 0), false)])]

  everywhere = { ipv4 = "0.0.0.0/0", ipv6 = "::/0" }
  # ICMP: 3 destination unreachable (RFC 792), 11 time exceeded. ICMPv6: 1 and 3 (RFC 4443), 2 packet too big.
  icmp = {
    ipv4 = { protocol = "1", types = { unreachable = 3, exceeded = 11 } }
    ipv6 = { protocol = "58", types = { unreachable = 1, too-big = 2, exceeded = 3 } }
  }

  acl_in = concat(flatten([for f in local.families : concat(
    [for r in local.acl_ranges_split[f] : { key = "answers-${r}", range = r, family = f, protocol = "6", from = 1024, to = 65535, icmp = null }],
    [{ key = "https-${f}", range = local.everywhere[f], family = f, protocol = "6", from = 32768, to = 60999, icmp = null }],
    [for n, t in local.icmp[f].types : { key = "${n}-${f}", range = local.everywhere[f], family = f, protocol = local.icmp[f].protocol, from = 0, to = 0, icmp = t }],
  )]))
  acl_out = concat(flatten([for f in local.families : concat(
    [for r in local.acl_ranges_split[f] : { key = "probes-${r}", range = r, family = f, protocol = "6", from = 0, to = 65535, icmp = null }],
    [{ key = "https-${f}", range = local.everywhere[f], family = f, protocol = "6", from = 443, to = 443, icmp = null }],
  )]))
  # Both families and the two rules that deny the rest are counted: rather too careful than stopped half-way.
  acl_rules_needed = max(length(local.acl_in), length(local.acl_out)) + 2

  acl_enabled = local.own_network && var.acl.enabled
}

resource "aws_network_acl" "scanner" {
  count      = local.acl_enabled ? 1 : 0
  vpc_id     = aws_vpc.this[0].id
  subnet_ids = aws_subnet.public[*].id
  tags       = merge(local.tags, { Name = "${var.name}-scanner" })

  lifecycle {
    precondition {
      condition     = local.acl_rules_needed <= var.acl.rules
      error_message = "The network ACL would need ${local.acl_rules_needed} rules in a direction, and your quota (acl.rules) is ${var.acl.rules}. Name wider ranges that hold the owned ones in acl.ranges, have the quota raised (40 at most), or set acl = { enabled = false }; the program keeps to the scope all the same."
    }
    precondition {
      condition     = length(local.outside_acl) == 0
      error_message = "acl.ranges does not hold all of owned_ranges: ${join(", ", local.outside_acl)} would be scanned and never answer."
    }
  }
}

resource "aws_network_acl_rule" "in" {
  for_each        = { for i, r in local.acl_enabled ? local.acl_in : [] : r.key => merge(r, { number = 100 + 10 * i }) }
  network_acl_id  = aws_network_acl.scanner[0].id
  egress          = false
  rule_number     = each.value.number
  rule_action     = "allow"
  protocol        = each.value.protocol
  cidr_block      = each.value.family == "ipv4" ? each.value.range : null
  ipv6_cidr_block = each.value.family == "ipv6" ? each.value.range : null
  from_port       = each.value.from
  to_port         = each.value.to
  icmp_type       = each.value.icmp
  icmp_code       = each.value.icmp == null ? null : -1
}

resource "aws_network_acl_rule" "out" {
  for_each        = { for i, r in local.acl_enabled ? local.acl_out : [] : r.key => merge(r, { number = 100 + 10 * i }) }
  network_acl_id  = aws_network_acl.scanner[0].id
  egress          = true
  rule_number     = each.value.number
  rule_action     = "allow"
  protocol        = each.value.protocol
  cidr_block      = each.value.family == "ipv4" ? each.value.range : null
  ipv6_cidr_block = each.value.family == "ipv6" ? each.value.range : null
  from_port       = each.value.from
  to_port         = each.value.to
}
