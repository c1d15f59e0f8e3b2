"""The workstation's end of a push, to one host or to a fleet."""
