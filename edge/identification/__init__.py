"""The answer for a single image, and whether it shows the expected card."""
