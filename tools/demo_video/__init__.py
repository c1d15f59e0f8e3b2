"""The demo: its video, the expected events, its broker."""
