"""Put the parts together."""
