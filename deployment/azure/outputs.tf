locals {
  # A public authority has signed both certificates; the image has the list of those.
  postgres = "${azurerm_postgresql_flexible_server.postgres.fqdn}:5432/rebalancer?sslmode=verify-full&sslrootcert=/etc/ssl/certs/ca-certificates.crt"
  database = { for role, password in random_password.role : role => "postgresql://${role}:${password.result}@${local.postgres}" }
  redis    = azurerm_managed_redis.redis.default_database[0]

  # Secrets of Kubernetes, by name.
  secrets = {
    rebalancer = {
      REBALANCER_DATABASE_URL = local.database["rebalancer_app"]
      REBALANCER_REDIS_URL    = "rediss://:${urlencode(local.redis.primary_access_key)}@${azurerm_managed_redis.redis.hostname}:${local.redis.port}/0"
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
  description = "What psql and deployment/postgres/roles.sql take from the environment."
  value = join("\n", [
    "PGHOST=${azurerm_postgresql_flexible_server.postgres.fqdn}",
    "PGUSER=${azurerm_postgresql_flexible_server.postgres.administrator_login}",
    "PGPASSWORD=${random_password.administrator.result}",
    "POSTGRES_OWNER_PASSWORD=${random_password.role["rebalancer_owner"].result}",
    "POSTGRES_APP_PASSWORD=${random_password.role["rebalancer_app"].result}",
  ])
  sensitive = true
}
