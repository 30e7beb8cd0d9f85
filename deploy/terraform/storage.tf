# One bucket, four prefixes: config/ (this module writes it), rounds/ (tasks), state/ (reduce), baseline/ (the
# baseline repository's workflow). Roles are held apart by prefix.

resource "aws_s3_bucket" "this" {
  bucket = local.bucket
  # What is known of findings is in it: no `terraform destroy` takes it along.
  force_destroy = false
  tags          = local.tags
}

resource "aws_s3_bucket_versioning" "this" {
  bucket = aws_s3_bucket.this.id
  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  bucket = aws_s3_bucket.this.id
  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm     = var.bucket_kms ? "aws:kms" : "AES256"
      kms_master_key_id = var.bucket_kms ? local.kms_key_arn : null
    }
    bucket_key_enabled = var.bucket_kms
  }
}

resource "aws_s3_bucket_public_access_block" "this" {
  bucket                  = aws_s3_bucket.this.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "this" {
  bucket = aws_s3_bucket.this.id
  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_policy" "this" {
  bucket = aws_s3_bucket.this.id
  policy = jsonencode(local.bucket_policy)
  # The policy is refused while the block is being set up.
  depends_on = [aws_s3_bucket_public_access_block.this]
}

locals {
  bucket_policy = {
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "TlsOnly"
        Effect    = "Deny"
        Principal = "*"
        # A Deny: the wildcard takes away and gives nothing.
        Action    = "s3:*"
        Resource  = [local.bucket_arn, "${local.bucket_arn}/*"]
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
      {
        Sid       = "Tls12"
        Effect    = "Deny"
        Principal = "*"
        Action    = "s3:*"
        Resource  = [local.bucket_arn, "${local.bucket_arn}/*"]
        Condition = { NumericLessThan = { "s3:TlsVersion" = "1.2" } }
      },
    ]
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "this" {
  bucket = aws_s3_bucket.this.id

  rule {
    id     = "rounds"
    status = "Enabled"
    filter {
      prefix = "rounds/"
    }
    expiration {
      days = var.round_days
    }
    noncurrent_version_expiration {
      noncurrent_days = 7
    }
  }

  # No expiry of what is current: state and baseline live as long as the service.
  dynamic "rule" {
    for_each = toset(["state/", "baseline/", "config/"])
    content {
      id     = trimsuffix(rule.value, "/")
      status = "Enabled"
      filter {
        prefix = rule.value
      }
      noncurrent_version_expiration {
        noncurrent_days = var.noncurrent_days
      }
      # What is left of steps that were pruned: it would make every listing longer, for ever.
      expiration {
        expired_object_delete_marker = true
      }
    }
  }

  rule {
    id     = "unfinished"
    status = "Enabled"
    filter {
      prefix = ""
    }
    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }

  depends_on = [aws_s3_bucket_versioning.this]
}

resource "aws_s3_bucket_logging" "this" {
  count         = var.access_log_bucket == null ? 0 : 1
  bucket        = aws_s3_bucket.this.id
  target_bucket = var.access_log_bucket
  target_prefix = "${local.bucket}/"
}

# Configuration ----------------------------------------------------------------------------------------------

locals {
  patrol_toml = templatefile("${path.module}/templates/patrol.toml.tftpl", {
    vantage       = var.vantage
    allow         = var.owned_ranges
    deny          = var.denied_ranges
    authorised_by = var.authorised_by
    scan          = var.scan
    scan_keys     = var.scan_keys
    http_keys     = var.http_keys
    vhosts        = contains(keys(var.config_files), "vhosts.csv")
    bucket        = local.bucket
    region        = local.region
    extra         = var.config_extra
  })
  config_files = merge(var.config_files, { "patrol.toml" = local.patrol_toml })

  # The program plans no IPv6 prefix that is wider.
  unsweepable = [for r in var.owned_ranges : r if strcontains(r, ":") && try(tonumber(split("/", r)[1]) < 112, false)]
  has_targets = can(regex("(?m)^\\s*\"?targets\"?\\s*=", var.scan_keys)) || alltrue([for p in var.profiles : length(p.targets) > 0])
}

resource "aws_s3_object" "config" {
  for_each     = local.config_files
  bucket       = aws_s3_bucket.this.id
  key          = "config/${each.key}"
  content      = each.value
  content_type = "text/plain; charset=utf-8"
  source_hash  = sha256(each.value)
  tags         = local.tags
  depends_on   = [aws_s3_bucket_versioning.this, aws_s3_bucket_server_side_encryption_configuration.this]

  lifecycle {
    precondition {
      condition     = length(local.unsweepable) == 0 || local.has_targets
      error_message = "owned_ranges holds ${join(", ", local.unsweepable)}: nobody sweeps so many IPv6 addresses, and each Plan would be refused. Name those in use: scan_keys = \"targets = [\\\"198.51.100.0/24\\\", \\\"2001:db8::10\\\"]\", or targets for every profile; owned_ranges may stay as wide as it is."
    }
  }
}
