# Postgres and Valkey for the service, in an existing network. Never applied: see README.md.
terraform {
  required_version = ">= 1.9"
  required_providers {
    aws    = { source = "hashicorp/aws", version = "~> 6.0" }
    random = { source = "hashicorp/random", version = "~> 3.6" }
  }
}

provider "aws" {
  region = var.region
  default_tags {
    tags = { application = var.name }
  }
}

# Only the nodes of the cluster reach the servers.
resource "aws_security_group" "servers" {
  name        = "${var.name}-servers"
  description = "Postgres and Valkey of ${var.name}"
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "servers" {
  for_each                     = { postgres = 5432, valkey = 6379 }
  security_group_id            = aws_security_group.servers.id
  referenced_security_group_id = local.nodes
  description                  = each.key
  ip_protocol                  = "tcp"
  from_port                    = each.value
  to_port                      = each.value
}

resource "aws_db_subnet_group" "postgres" {
  name       = var.name
  subnet_ids = var.subnet_ids
}

resource "aws_db_parameter_group" "postgres" {
  name   = "${var.name}-postgres18"
  family = "postgres18"
  parameter {
    name  = "rds.force_ssl"
    value = "1"
  }
}

resource "aws_db_instance" "postgres" {
  identifier                      = var.name
  engine                          = "postgres"
  engine_version                  = "18"
  instance_class                  = var.database_class
  db_name                         = "rebalancer"
  username                        = "dbadministrator"
  manage_master_user_password     = true # in Secrets Manager, and changed every week
  allocated_storage               = var.database_gigabytes
  max_allocated_storage           = 10 * var.database_gigabytes
  storage_type                    = "gp3"
  storage_encrypted               = true
  multi_az                        = true
  publicly_accessible             = false
  db_subnet_group_name            = aws_db_subnet_group.postgres.name
  vpc_security_group_ids          = [aws_security_group.servers.id]
  parameter_group_name            = aws_db_parameter_group.postgres.name
  ca_cert_identifier              = "rds-ca-rsa2048-g1"
  backup_retention_period         = var.backup_days
  copy_tags_to_snapshot           = true
  deletion_protection             = true
  final_snapshot_identifier       = "${var.name}-final"
  auto_minor_version_upgrade      = true
  performance_insights_enabled    = true
  enabled_cloudwatch_logs_exports = ["postgresql", "upgrade"]
}

resource "aws_elasticache_subnet_group" "valkey" {
  name       = var.name
  subnet_ids = var.subnet_ids
}

resource "random_password" "valkey" {
  length  = 48
  special = false
}

# Two nodes in two zones. Cluster mode is off: the service refuses it. No backups: it may be lost.
resource "aws_elasticache_replication_group" "valkey" {
  replication_group_id       = var.name
  description                = "Queue, rate limits and caches of ${var.name}"
  engine                     = "valkey"
  engine_version             = "8.1"
  parameter_group_name       = "default.valkey8"
  node_type                  = var.cache_type
  cluster_mode               = "disabled"
  num_cache_clusters         = 2
  automatic_failover_enabled = true
  multi_az_enabled           = true
  transit_encryption_enabled = true
  transit_encryption_mode    = "required"
  at_rest_encryption_enabled = true
  auth_token                 = random_password.valkey.result
  subnet_group_name          = aws_elasticache_subnet_group.valkey.name
  security_group_ids         = [aws_security_group.servers.id]
  auto_minor_version_upgrade = true
}

# Passwords of the two roles that deployment/postgres/roles.sql makes.
resource "random_password" "role" {
  for_each = toset(["rebalancer_owner", "rebalancer_app"])
  length   = 48
  special  = false
}

resource "aws_secretsmanager_secret" "urls" {
  for_each    = local.secrets
  name        = "${var.name}/${each.key}"
  description = "URLs with passwords: the Secret ${each.key} of Kubernetes"
}

resource "aws_secretsmanager_secret_version" "urls" {
  for_each      = local.secrets
  secret_id     = aws_secretsmanager_secret.urls[each.key].id
  secret_string = jsonencode(each.value)
}

resource "aws_budgets_budget" "month" {
  name         = var.name
  budget_type  = "COST"
  time_unit    = "MONTHLY"
  limit_amount = tostring(var.budget)
  limit_unit   = "USD"
  dynamic "notification" {
    for_each = { ACTUAL = 80, FORECASTED = 100 }
    content {
      notification_type          = notification.key
      threshold                  = notification.value
      threshold_type             = "PERCENTAGE"
      comparison_operator        = "GREATER_THAN"
      subscriber_email_addresses = [var.budget_email]
    }
  }
}
