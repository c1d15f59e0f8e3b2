"""Being a service: health, commands, the supervisor, the machine."""
