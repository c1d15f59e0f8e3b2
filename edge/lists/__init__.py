"""What a shop counts: named lists of cards on disk, the rules that sort them, their value, and the formats they are exported in."""
