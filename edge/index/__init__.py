"""The bundles a device holds: installed, active, on trial, rolled back, extended by its own cards."""
