"""The composition root: chooses adapters, opens all components and runs the daemon."""
