"""What a camera makes of a clean card; cards and backgrounds in memory."""
