"""The daemon: its loop, commands and health."""
