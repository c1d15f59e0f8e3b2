"""The wanted state of a fleet of scanners, and what it takes to reach it."""
