# Postgres and Redis for the service, in an existing network. Never applied: see README.md.
terraform {
  required_version = ">= 1.9"
  required_providers {
    azurerm = { source = "hashicorp/azurerm", version = "~> 5.0" }
    random  = { source = "hashicorp/random", version = "~> 3.6" }
  }
}

provider "azurerm" {
  subscription_id = var.subscription_id
  features {}
}

data "azurerm_client_config" "current" {}

data "azurerm_resource_group" "this" {
  name = var.resource_group
}

# Names in the private network, of Postgres and of the endpoint of Redis.
resource "azurerm_private_dns_zone" "servers" {
  for_each            = { postgres = "${var.name}.private.postgres.database.azure.com", redis = "privatelink.redis.azure.net" }
  name                = each.value
  resource_group_name = data.azurerm_resource_group.this.name
}

resource "azurerm_private_dns_zone_virtual_network_link" "servers" {
  for_each            = azurerm_private_dns_zone.servers
  name                = each.key
  private_dns_zone_id = each.value.id
  virtual_network_id  = var.network_id
}

resource "random_password" "administrator" {
  length  = 48
  special = false
}

# Two servers in two zones. TLS is required, and the disk encrypted, unless switched off.
resource "azurerm_postgresql_flexible_server" "postgres" {
  name                          = "${var.name}-postgres"
  location                      = data.azurerm_resource_group.this.location
  resource_group_name           = data.azurerm_resource_group.this.name
  version                       = "18"
  sku_name                      = var.database_sku
  storage_mb                    = var.database_megabytes
  auto_grow_enabled             = true
  zone                          = "1"
  administrator_login           = "dbadministrator"
  administrator_password        = random_password.administrator.result
  delegated_subnet_id           = var.database_subnet_id
  private_dns_zone_id           = azurerm_private_dns_zone.servers["postgres"].id
  public_network_access_enabled = false
  backup_retention_days         = var.backup_days
  high_availability {
    mode                      = "ZoneRedundant"
    standby_availability_zone = "2"
  }
  lifecycle {
    ignore_changes = [zone, high_availability[0].standby_availability_zone] # they change places
  }
  depends_on = [azurerm_private_dns_zone_virtual_network_link.servers]
}

# Nobody deletes the server, or its database, before the lock is removed.
resource "azurerm_management_lock" "postgres" {
  name       = "do-not-delete"
  scope      = azurerm_postgresql_flexible_server.postgres.id
  lock_level = "CanNotDelete"
}

# Two nodes. Without clusters: the service refuses a server in cluster mode. It may be lost.
resource "azurerm_managed_redis" "redis" {
  name                      = "${var.name}-redis"
  location                  = data.azurerm_resource_group.this.location
  resource_group_name       = data.azurerm_resource_group.this.name
  sku_name                  = var.cache_sku
  high_availability_enabled = true
  public_network_access     = "Disabled"
  default_database {
    access_keys_authentication_enabled = true
    client_protocol                    = "Encrypted"
    clustering_policy                  = "NoCluster"
    eviction_policy                    = "VolatileLRU"
  }
}

resource "azurerm_private_endpoint" "redis" {
  name                = "${var.name}-redis"
  location            = data.azurerm_resource_group.this.location
  resource_group_name = data.azurerm_resource_group.this.name
  subnet_id           = var.endpoint_subnet_id
  private_service_connection {
    name                           = "redis"
    private_connection_resource_id = azurerm_managed_redis.redis.id
    subresource_names              = ["redisEnterprise"]
    is_manual_connection           = false
  }
  private_dns_zone_group {
    name                 = "redis"
    private_dns_zone_ids = [azurerm_private_dns_zone.servers["redis"].id]
  }
}

# Passwords of the two roles that deployment/postgres/roles.sql makes.
resource "random_password" "role" {
  for_each = toset(["rebalancer_owner", "rebalancer_app"])
  length   = 48
  special  = false
}

resource "azurerm_key_vault" "urls" {
  name                       = var.name
  location                   = data.azurerm_resource_group.this.location
  resource_group_name        = data.azurerm_resource_group.this.name
  tenant_id                  = data.azurerm_client_config.current.tenant_id
  sku_name                   = "standard"
  rbac_authorization_enabled = true
  purge_protection_enabled   = true
}

resource "azurerm_role_assignment" "urls" {
  scope                = azurerm_key_vault.urls.id
  role_definition_name = "Key Vault Secrets Officer"
  principal_id         = data.azurerm_client_config.current.object_id
}

resource "azurerm_key_vault_secret" "urls" {
  for_each     = local.secrets
  name         = each.key
  value        = jsonencode(each.value)
  content_type = "application/json"
  key_vault_id = azurerm_key_vault.urls.id
  depends_on   = [azurerm_role_assignment.urls]
}
