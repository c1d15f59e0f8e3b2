"""Files in which people note where cards are in photos."""
