"""Plan, compile and verify a HEF."""
