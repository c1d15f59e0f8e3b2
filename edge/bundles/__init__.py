"""Index bundles: their format, and the device's releases of them."""
