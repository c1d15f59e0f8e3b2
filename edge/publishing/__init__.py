"""Publish events and states over MQTT: the payloads, the outbox, the connection, commands, Home Assistant."""
