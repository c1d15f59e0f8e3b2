"""The releases of a device: installed, active, on trial, rolled back, and extended by cards added on the device."""
