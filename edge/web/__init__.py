"""The page the scanner serves: what it shows, who may see it, and what can be done from it."""
