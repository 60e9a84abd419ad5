variable "subscription_id" {
  type = string
}

variable "resource_group" {
  description = "Existing resource group."
  type        = string
}

variable "name" {
  description = "Prefix of everything that is made. Names of servers are unique in the world: add the name of your firm."
  type        = string
}

variable "network_id" {
  description = "Id of the existing virtual network."
  type        = string
}

variable "database_subnet_id" {
  description = "Subnet that is delegated to Microsoft.DBforPostgreSQL/flexibleServers."
  type        = string
}

variable "endpoint_subnet_id" {
  description = "Subnet of the private endpoints."
  type        = string
}

variable "cluster_subnet_id" {
  description = "Subnet of the nodes of a new cluster."
  type        = string
  default     = null
}

variable "create_cluster" {
  description = "Make a cluster; an existing one needs only to be in the network."
  type        = bool
  default     = false
}

variable "cluster_nodes" {
  description = "Type of the nodes of a new cluster, and how many it may have at least and at most."
  type        = object({ size = string, least = number, most = number })
  default     = { size = "Standard_D2as_v5", least = 2, most = 6 }
}

variable "database_sku" {
  description = "GP_Standard_D4ds_v5 for 100,000 portfolios. B_ types have no second zone."
  type        = string
  default     = "GP_Standard_D2ds_v5"
}

variable "database_megabytes" {
  description = "Size of the disk at first, of those on the list; it grows by itself."
  type        = number
  default     = 32768
}

variable "cache_sku" {
  description = "Balanced_B5 for 100,000 portfolios."
  type        = string
  default     = "Balanced_B0"
}

variable "backup_days" {
  description = "Days to which the database can be restored."
  type        = number
  default     = 14
}

variable "budget" {
  description = "Units of the subscription's currency a month. Mails are sent at 80% spent and at 100% forecast."
  type        = number
  default     = 650
}

variable "budget_from" {
  description = "First day of a month, not before the present one, such as 2027-01-01."
  type        = string
}

variable "budget_email" {
  type = string
}
