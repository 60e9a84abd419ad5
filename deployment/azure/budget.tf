resource "azurerm_consumption_budget_resource_group" "month" {
  name              = var.name
  resource_group_id = data.azurerm_resource_group.this.id
  amount            = var.budget
  time_grain        = "Monthly"
  time_period {
    start_date = "${var.budget_from}T00:00:00Z"
  }
  dynamic "notification" {
    for_each = { Actual = 80, Forecasted = 100 }
    content {
      threshold_type = notification.key
      threshold      = notification.value
      operator       = "GreaterThan"
      contact_emails = [var.budget_email]
    }
  }
}
