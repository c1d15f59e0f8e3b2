"""From events to the broker: outbox, connection, states, commands, Home Assistant."""
