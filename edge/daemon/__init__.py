"""The loop, its commands, its health."""
