"""Training of the embedding network: stages, losses, schedules. See ``hef/README.md``."""
