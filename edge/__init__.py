"""CardEdge: names trading cards in front of a camera, offline, and tells the house over MQTT."""

__version__ = "0.1.0"
