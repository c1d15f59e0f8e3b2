"""Long runs that look for what a short test does not find: lost events under faults, and memory that grows."""
