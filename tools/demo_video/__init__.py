"""The demo video, its ground truth, and the broker of the demo."""
