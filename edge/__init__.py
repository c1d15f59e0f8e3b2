"""CardEdge: identifies trading cards in front of a camera, offline, and publishes them over MQTT."""

__version__ = "0.1.0"
