locals {
  # The name that the certificate has; the address of the server has no certificate.
  host = trimsuffix(one([
    for dns in google_sql_database_instance.postgres.dns_names : dns.name
    if dns.connection_type == "PRIVATE_SERVICES_ACCESS" && dns.dns_scope == "INSTANCE"
  ]), ".")
  postgres = "${local.host}:5432/rebalancer?sslmode=verify-full&sslrootcert=/etc/rebalancer/ca.pem"
  database = { for role, password in random_password.role : role => "postgresql://${role}:${password.result}@${local.postgres}" }
  redis    = "${google_redis_instance.redis.host}:${google_redis_instance.redis.port}"

  # Secrets of Kubernetes, by name.
  secrets = {
    rebalancer = {
      REBALANCER_DATABASE_URL = local.database["rebalancer_app"]
      REBALANCER_REDIS_URL    = "rediss://:${urlencode(google_redis_instance.redis.auth_string)}@${local.redis}/0?ssl_ca_certs=/etc/rebalancer/ca.pem"
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
    "PGHOST=${local.host}",
    "PGUSER=${google_sql_user.administrator.name}",
    "PGPASSWORD=${random_password.administrator.result}",
    "POSTGRES_OWNER_PASSWORD=${random_password.role["rebalancer_owner"].result}",
    "POSTGRES_APP_PASSWORD=${random_password.role["rebalancer_app"].result}",
  ])
  sensitive = true
}

output "authorities" {
  description = "Certificates of the authorities of both servers, for /etc/rebalancer/ca.pem."
  value = join("\n", concat(
    google_sql_database_instance.postgres.server_ca_cert[*].cert,
    google_redis_instance.redis.server_ca_certs[*].cert,
  ))
}
