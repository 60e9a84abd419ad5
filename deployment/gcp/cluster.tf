# With create_cluster = true a GKE cluster in Autopilot mode, which bills pods by their requests,
# adds and removes nodes by itself, and enforces network policies.
resource "google_container_cluster" "new" {
  count               = var.create_cluster ? 1 : 0
  name                = var.cluster_name
  location            = var.region
  network             = var.network
  subnetwork          = var.subnetwork
  enable_autopilot    = true
  deletion_protection = true
  ip_allocation_policy {}
  private_cluster_config {
    enable_private_nodes = true
  }
  release_channel {
    channel = "REGULAR"
  }
}
