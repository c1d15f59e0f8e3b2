"""Which adapter serves a port, one room per port. With ``edge.app``, which puts the parts together, the only rooms that know adapters."""
