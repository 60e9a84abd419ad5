variable "project" {
  type = string
}

variable "region" {
  type    = string
  default = "europe-west3"
}

variable "name" {
  description = "Prefix of everything that is made."
  type        = string
  default     = "rebalancer"
}

variable "network" {
  description = "Existing network, as projects/PROJECT/global/networks/NAME."
  type        = string
}

variable "create_peering" {
  description = "Connect the network with Google's services; false if it is connected already, which a network can be once."
  type        = bool
  default     = true
}

variable "subnetwork" {
  description = "Subnetwork of a new cluster, as projects/PROJECT/regions/REGION/subnetworks/NAME."
  type        = string
  default     = null
}

variable "cluster_name" {
  description = "Name of a new GKE cluster."
  type        = string
  default     = "rebalancer"
}

variable "create_cluster" {
  description = "Make a cluster; an existing one needs only to be in the network."
  type        = bool
  default     = false
}

variable "database_tier" {
  description = "db-custom-4-16384 (cores, megabytes) for 100,000 portfolios."
  type        = string
  default     = "db-custom-1-3840"
}

variable "database_gigabytes" {
  description = "Size of the disk at first; it grows by itself."
  type        = number
  default     = 20
}

variable "database_connections" {
  description = "Above 10 times the number of pods; 600 for 100,000 portfolios."
  type        = number
  default     = 200
}

variable "cache_gigabytes" {
  description = "5 for 100,000 portfolios."
  type        = number
  default     = 1
}

variable "backup_days" {
  description = "Daily backups that are kept."
  type        = number
  default     = 14
}

variable "billing_account" {
  description = "Billing account, as 012345-6789AB-CDEF01."
  type        = string
}

variable "budget" {
  description = "Units of the account's currency a month. Mails are sent at 80% spent and at 100% forecast."
  type        = number
  default     = 300
}

variable "budget_email" {
  type = string
}
