variable "region" {
  type    = string
  default = "eu-central-1"
}

variable "name" {
  description = "Prefix of everything that is made."
  type        = string
  default     = "rebalancer"
}

variable "vpc_id" {
  description = "Existing network."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets of the network in two zones at least, with a way out to the internet."
  type        = list(string)
}

variable "cluster_name" {
  description = "Name of the EKS cluster in the same network."
  type        = string
}

variable "create_cluster" {
  description = "Make the cluster instead of using an existing one."
  type        = bool
  default     = false
}

variable "database_class" {
  description = "db.m7g.xlarge for 100,000 portfolios."
  type        = string
  default     = "db.t4g.medium"
}

variable "database_gigabytes" {
  description = "Size of the disk at first; it grows to ten times as much."
  type        = number
  default     = 20
}

variable "cache_type" {
  description = "cache.m7g.large for 100,000 portfolios."
  type        = string
  default     = "cache.t4g.small"
}

variable "backup_days" {
  description = "Days to which the database can be restored."
  type        = number
  default     = 14
}

variable "budget" {
  description = "US dollars a month. Mails are sent at 80% spent and at 100% forecast."
  type        = number
  default     = 400
}

variable "budget_email" {
  type = string
}
