# With create_cluster = true an AKS cluster in three zones, which adds and removes nodes by itself
# and enforces network policies (Cilium).
resource "azurerm_kubernetes_cluster" "new" {
  count                     = var.create_cluster ? 1 : 0
  name                      = var.name
  location                  = data.azurerm_resource_group.this.location
  resource_group_name       = data.azurerm_resource_group.this.name
  dns_prefix                = var.name
  sku_tier                  = "Standard"
  automatic_upgrade_channel = "patch"
  workload_identity_enabled = true
  oidc_issuer_enabled       = true
  default_node_pool {
    name                 = "default"
    vm_size              = var.cluster_nodes.size
    vnet_subnet_id       = var.cluster_subnet_id
    zones                = ["1", "2", "3"]
    auto_scaling_enabled = true
    min_count            = var.cluster_nodes.least
    max_count            = var.cluster_nodes.most
  }
  node_provisioning_profile {
    mode = "Manual"
  }
  identity {
    type = "SystemAssigned"
  }
  network_profile {
    network_plugin      = "azure"
    network_plugin_mode = "overlay"
    network_data_plane  = "cilium"
    network_policy      = "cilium"
  }
}
