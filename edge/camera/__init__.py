"""Keeping a frame source running: its thread, its clock, what can be wrong with its frames."""
