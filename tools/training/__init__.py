"""Training of the embedding network: datasets, losses, schedules and the training loop. See ``hef/README.md``."""
