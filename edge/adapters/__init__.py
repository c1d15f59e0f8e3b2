"""One file per driver library; a driver library is imported nowhere else."""
