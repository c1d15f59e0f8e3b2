"""Plan, compile and verify a HEF, the model file of a Hailo NPU."""
