"""From a trained network to one that runs on a Hailo-8L: what it will cost, compiling it, and the proof that it still answers the same."""
