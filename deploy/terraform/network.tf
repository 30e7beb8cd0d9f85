# The scanner's own small network: public subnets, an internet gateway, and nothing that tracks connections.
#
# A sweep opens more flows in a minute than a web server in a week. Where AWS tracks connections, every SYN takes
# an entry in a table of undisclosed size, and when that is full, packets vanish without a word: open ports are
# then reported as silent. Flows are untracked only if one direction of the security group allows all TCP from and to
# everywhere and the other allows everything. NAT gateways, egress-only internet gateways, network firewalls
# and PrivateLink always track, so none of them is used here.
# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/security-group-connection-tracking.html

locals {
  own_network = length(var.network.subnet_ids) == 0
  subnet_ids  = local.own_network ? aws_subnet.public[*].id : var.network.subnet_ids
  vpc_id      = local.own_network ? aws_vpc.this[0].id : var.network.vpc_id
  zones       = local.own_network ? var.network.zones : 0
  # Tasks that find an address, of an eighth of the range in each zone; AWS keeps five.
  task_addresses = try(local.zones * (pow(2, 29 - tonumber(split("/", var.network.vpc_cidr)[1])) - 5), 0)
}

data "aws_availability_zones" "available" {
  state = "available"
  filter {
    name   = "opt-in-status"
    values = ["opt-in-not-required"]
  }
}

resource "aws_vpc" "this" {
  count                            = local.own_network ? 1 : 0
  cidr_block                       = var.network.vpc_cidr
  enable_dns_support               = true
  enable_dns_hostnames             = true
  assign_generated_ipv6_cidr_block = var.network.ipv6
  tags                             = merge(local.tags, { Name = var.name })
}

# Nothing is in it, and nothing may be.
resource "aws_default_security_group" "this" {
  count  = local.own_network ? 1 : 0
  vpc_id = aws_vpc.this[0].id
  tags   = merge(local.tags, { Name = "${var.name}-default-unused" })
}

resource "aws_internet_gateway" "this" {
  count  = local.own_network ? 1 : 0
  vpc_id = aws_vpc.this[0].id
  tags   = merge(local.tags, { Name = var.name })
}

resource "aws_subnet" "public" {
  count                           = local.zones
  vpc_id                          = aws_vpc.this[0].id
  availability_zone               = data.aws_availability_zones.available.names[count.index]
  cidr_block                      = cidrsubnet(var.network.vpc_cidr, 3, count.index)
  ipv6_cidr_block                 = var.network.ipv6 ? cidrsubnet(aws_vpc.this[0].ipv6_cidr_block, 8, count.index) : null
  assign_ipv6_address_on_creation = var.network.ipv6
  # The task asks for its public address itself; nothing else that lands here gets one.
  map_public_ip_on_launch = false
  tags                    = merge(local.tags, { Name = "${var.name}-public-${count.index + 1}" })

  lifecycle {
    # AWS may add a zone and the list be counted anew: no reason to move a subnet.
    ignore_changes = [availability_zone]

    # The interfaces of tasks that have ended stay for a while, and other rounds run too.
    precondition {
      condition     = local.task_addresses >= var.max_parallel + 10
      error_message = "The subnets have ${local.task_addresses} addresses, and max_parallel = ${var.max_parallel} shards with what else runs need ${var.max_parallel + 10}. Give network.vpc_cidr a shorter prefix (such as 10.83.0.0/22), or more zones."
    }
  }
}

resource "aws_route_table" "public" {
  count  = local.own_network ? 1 : 0
  vpc_id = aws_vpc.this[0].id
  tags   = merge(local.tags, { Name = "${var.name}-public" })
}

resource "aws_route" "ipv4" {
  count                  = local.own_network ? 1 : 0
  route_table_id         = aws_route_table.public[0].id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = aws_internet_gateway.this[0].id
}

# By the internet gateway, not by an egress-only one: that tracks.
resource "aws_route" "ipv6" {
  count                       = local.own_network && var.network.ipv6 ? 1 : 0
  route_table_id              = aws_route_table.public[0].id
  destination_ipv6_cidr_block = "::/0"
  gateway_id                  = aws_internet_gateway.this[0].id
}

resource "aws_route_table_association" "public" {
  count          = local.zones
  subnet_id      = aws_subnet.public[count.index].id
  route_table_id = aws_route_table.public[0].id
}

# Runs and state go to S3 by a gateway: free, and not over the internet gateway.
resource "aws_vpc_endpoint" "s3" {
  count             = local.own_network ? 1 : 0
  vpc_id            = aws_vpc.this[0].id
  service_name      = "com.amazonaws.${local.region}.s3"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = [aws_route_table.public[0].id]
  tags              = merge(local.tags, { Name = "${var.name}-s3" })
}

# Security group: both ways open, on purpose -----------------------------------------------------------------

resource "aws_security_group" "scanner" {
  name        = "${var.name}-scanner"
  description = "Open both ways so that AWS does not track the flows of a sweep; the network ACL narrows it. No server listens in the task."
  vpc_id      = local.vpc_id
  tags        = merge(local.tags, { Name = "${var.name}-scanner" })
}

# Protocol -1, not tcp: a sweep also receives the ICMP errors of the path.
resource "aws_vpc_security_group_ingress_rule" "all" {
  for_each          = { ipv4 = "0.0.0.0/0", ipv6 = "::/0" }
  security_group_id = aws_security_group.scanner.id
  ip_protocol       = "-1"
  cidr_ipv4         = each.key == "ipv4" ? each.value : null
  cidr_ipv6         = each.key == "ipv6" ? each.value : null
  description       = "Untracked flows need it. Nothing in the task listens."
}

resource "aws_vpc_security_group_egress_rule" "all" {
  for_each          = { ipv4 = "0.0.0.0/0", ipv6 = "::/0" }
  security_group_id = aws_security_group.scanner.id
  ip_protocol       = "-1"
  cidr_ipv4         = each.key == "ipv4" ? each.value : null
  cidr_ipv6         = each.key == "ipv6" ? each.value : null
  description       = "Untracked flows need it. The network ACL and the program's scope narrow it."
}
