"""Export a trained network to a model folder: ONNX and Core ML files, their checks against the network, and ``model.json``."""
