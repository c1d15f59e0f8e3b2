"""Training of the embedding network: what is learnt from what (``stages``), by which loss, in which course. See ``hef/README.md``."""
