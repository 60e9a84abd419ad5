# Postgres and Redis for the service, in an existing network. Never applied: see README.md.
terraform {
  required_version = ">= 1.9"
  required_providers {
    google = { source = "hashicorp/google", version = "~> 8.0" }
    random = { source = "hashicorp/random", version = "~> 3.6" }
  }
}

provider "google" {
  project               = var.project
  region                = var.region
  billing_project       = var.project
  user_project_override = true # for the budget
}

# The private connection of the network with Google's servers.
resource "google_compute_global_address" "servers" {
  count         = var.create_peering ? 1 : 0
  name          = "${var.name}-servers"
  network       = var.network
  purpose       = "VPC_PEERING"
  address_type  = "INTERNAL"
  prefix_length = 20
}

resource "google_service_networking_connection" "servers" {
  count                   = var.create_peering ? 1 : 0
  network                 = var.network
  service                 = "servicenetworking.googleapis.com"
  reserved_peering_ranges = google_compute_global_address.servers[*].name
}

# Two servers in two zones. Google encrypts the disks. The certificate has the DNS name of the
# server, which the authority of a single instance would leave out.
resource "google_sql_database_instance" "postgres" {
  name                = var.name
  database_version    = "POSTGRES_18"
  deletion_protection = true # by Terraform; that in the settings also stops others
  settings {
    edition                     = "ENTERPRISE"
    tier                        = var.database_tier
    availability_type           = "REGIONAL"
    disk_type                   = "PD_SSD"
    disk_size                   = var.database_gigabytes
    disk_autoresize             = true
    deletion_protection_enabled = true
    retain_backups_on_delete    = true
    ip_configuration {
      ipv4_enabled    = false
      private_network = var.network
      ssl_mode        = "ENCRYPTED_ONLY"
      server_ca_mode  = "GOOGLE_MANAGED_CAS_CA"
    }
    backup_configuration {
      enabled                        = true
      point_in_time_recovery_enabled = true
      transaction_log_retention_days = 7
      backup_retention_settings {
        retained_backups = var.backup_days
      }
    }
    database_flags {
      name  = "max_connections"
      value = tostring(var.database_connections)
    }
    insights_config {
      query_insights_enabled = true
    }
  }
  depends_on = [google_service_networking_connection.servers]
}

resource "random_password" "administrator" {
  length  = 48
  special = false
}

resource "google_sql_user" "administrator" {
  instance = google_sql_database_instance.postgres.name
  name     = "dbadministrator"
  password = random_password.administrator.result
}

# Two nodes in two zones. It is no cluster, which the service refuses. It may be lost: no backups.
resource "google_redis_instance" "redis" {
  name                    = var.name
  tier                    = "STANDARD_HA"
  memory_size_gb          = var.cache_gigabytes
  redis_version           = "REDIS_7_2"
  authorized_network      = var.network
  connect_mode            = "PRIVATE_SERVICE_ACCESS"
  auth_enabled            = true
  transit_encryption_mode = "SERVER_AUTHENTICATION"
  depends_on              = [google_service_networking_connection.servers]
}

# Passwords of the two roles that deployment/postgres/roles.sql makes.
resource "random_password" "role" {
  for_each = toset(["rebalancer_owner", "rebalancer_app"])
  length   = 48
  special  = false
}

resource "google_secret_manager_secret" "urls" {
  for_each            = local.secrets
  secret_id           = "${var.name}-${each.key}"
  deletion_protection = true
  replication {
    auto {}
  }
}

resource "google_secret_manager_secret_version" "urls" {
  for_each    = local.secrets
  secret      = google_secret_manager_secret.urls[each.key].id
  secret_data = jsonencode(each.value)
}

resource "google_monitoring_notification_channel" "budget" {
  display_name = "Budget of ${var.name}"
  type         = "email"
  labels       = { email_address = var.budget_email }
}

data "google_project" "this" {}

resource "google_billing_budget" "month" {
  billing_account = var.billing_account
  display_name    = var.name
  budget_filter {
    projects = ["projects/${data.google_project.this.number}"]
  }
  amount {
    specified_amount {
      units = tostring(var.budget)
    }
  }
  threshold_rules {
    threshold_percent = 0.8
  }
  threshold_rules {
    threshold_percent = 1.0
    spend_basis       = "FORECASTED_SPEND"
  }
  all_updates_rule {
    monitoring_notification_channels = [google_monitoring_notification_channel.budget.id]
  }
}
