"""The device's end of a push: a technician's bundle comes in over SSH, is checked, and serves on probation until it is confirmed."""
