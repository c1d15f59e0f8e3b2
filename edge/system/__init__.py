"""Information about the machine: clock, name, temperatures, NPU states and failures."""
