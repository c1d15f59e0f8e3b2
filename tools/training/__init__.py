"""Trainer of the embedding network: what is learned from what (``stages``), by which loss, in which course. See ``hef/README.md``."""
