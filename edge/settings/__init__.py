"""The settings file and its sections."""
