"""Documents and tables that present results; stores, the CLI and reports share them."""
