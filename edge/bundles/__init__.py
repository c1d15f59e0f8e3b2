"""The bundle format: read, check, write, and verify signatures."""
