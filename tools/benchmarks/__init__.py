"""Speed and load; the only family that may import `edge.daemon` and `edge.web`."""
