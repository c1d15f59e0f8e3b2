"""Plan, compile and prove a HEF."""
