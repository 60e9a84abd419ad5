locals {
  postgres = "${aws_db_instance.postgres.address}:5432/rebalancer?sslmode=verify-full&sslrootcert=/etc/rebalancer/ca.pem"
  valkey   = "${aws_elasticache_replication_group.valkey.primary_endpoint_address}:6379/0"
  database = { for role, password in random_password.role : role => "postgresql://${role}:${password.result}@${local.postgres}" }

  # Secrets of Kubernetes, by name.
  secrets = {
    rebalancer = {
      REBALANCER_DATABASE_URL = local.database["rebalancer_app"]
      REBALANCER_REDIS_URL    = "rediss://:${random_password.valkey.result}@${local.valkey}"
    }
    rebalancer-owner = { REBALANCER_DATABASE_URL = local.database["rebalancer_owner"] }
  }
}

output "service_env" {
  description = "Lines for the Secret rebalancer."
  value       = join("\n", [for key, value in local.secrets["rebalancer"] : "${key}=${value}"])
  sensitive   = true
}

output "owner_env" {
  description = "Line for the Secret rebalancer-owner."
  value       = join("\n", [for key, value in local.secrets["rebalancer-owner"] : "${key}=${value}"])
  sensitive   = true
}

output "roles_env" {
  description = "What deployment/postgres/roles.sql takes from the environment, besides the password of the administrator."
  value = join("\n", [
    "PGHOST=${aws_db_instance.postgres.address}",
    "PGUSER=${aws_db_instance.postgres.username}",
    "POSTGRES_OWNER_PASSWORD=${random_password.role["rebalancer_owner"].result}",
    "POSTGRES_APP_PASSWORD=${random_password.role["rebalancer_app"].result}",
  ])
  sensitive = true
}

output "administrator_secret" {
  description = "Secret in Secrets Manager with the password of the administrator of Postgres."
  value       = aws_db_instance.postgres.master_user_secret[0].secret_arn
}
