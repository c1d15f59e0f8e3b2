"""The architectures that can be trained, as modules and as ONNX."""
