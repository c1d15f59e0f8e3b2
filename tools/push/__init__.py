"""The workstation's end of a push, one host or a fleet."""
