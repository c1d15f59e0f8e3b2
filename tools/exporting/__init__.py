"""From a trained network to a model folder: the file formats, their validation against the network, and ``model.json``."""
