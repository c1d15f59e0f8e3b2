"""The workstation's end of a push: one host's conversation, and the order in which a fleet is served."""
