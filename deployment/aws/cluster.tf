# The existing cluster, or with create_cluster = true one in EKS Auto Mode, which adds and removes
# nodes by itself and brings load balancers and disks.
data "aws_eks_cluster" "existing" {
  count = var.create_cluster ? 0 : 1
  name  = var.cluster_name
}

locals {
  nodes = one(concat(
    aws_eks_cluster.new[*].vpc_config[0].cluster_security_group_id,
    data.aws_eks_cluster.existing[*].vpc_config[0].cluster_security_group_id,
  ))
  policies = var.create_cluster ? {
    AmazonEKSClusterPolicy             = "cluster"
    AmazonEKSComputePolicy             = "cluster"
    AmazonEKSBlockStoragePolicy        = "cluster"
    AmazonEKSLoadBalancingPolicy       = "cluster"
    AmazonEKSNetworkingPolicy          = "cluster"
    AmazonEKSWorkerNodeMinimalPolicy   = "node"
    AmazonEC2ContainerRegistryPullOnly = "node"
  } : {}
}

resource "aws_iam_role" "cluster" {
  for_each = var.create_cluster ? { cluster = "eks", node = "ec2" } : {}
  name     = "${var.cluster_name}-${each.key}"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = ["sts:AssumeRole", "sts:TagSession"]
      Principal = { Service = "${each.value}.amazonaws.com" }
    }]
  })
}

resource "aws_iam_role_policy_attachment" "cluster" {
  for_each   = local.policies
  role       = aws_iam_role.cluster[each.value].name
  policy_arn = "arn:aws:iam::aws:policy/${each.key}"
}

resource "aws_eks_cluster" "new" {
  count                         = var.create_cluster ? 1 : 0
  name                          = var.cluster_name
  role_arn                      = aws_iam_role.cluster["cluster"].arn
  bootstrap_self_managed_addons = false
  deletion_protection           = true
  enabled_cluster_log_types     = ["audit", "authenticator"]
  access_config {
    authentication_mode = "API"
  }
  vpc_config {
    subnet_ids              = var.subnet_ids
    endpoint_private_access = true
    endpoint_public_access  = true
  }
  compute_config {
    enabled       = true
    node_pools    = ["general-purpose", "system"]
    node_role_arn = aws_iam_role.cluster["node"].arn
  }
  kubernetes_network_config {
    elastic_load_balancing {
      enabled = true
    }
  }
  storage_config {
    block_storage {
      enabled = true
    }
  }
  depends_on = [aws_iam_role_policy_attachment.cluster]
}
