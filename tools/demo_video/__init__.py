"""The demo's video, its truth, its broker."""
