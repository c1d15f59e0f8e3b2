"""Network architectures that can be trained, their ONNX files, and 8-bit quantization."""
