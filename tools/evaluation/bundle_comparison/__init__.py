"""Two bundles asked the same queries."""
