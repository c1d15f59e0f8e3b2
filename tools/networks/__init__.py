"""The networks that can be trained here. ``contract`` says what all of them promise, ``factory`` makes one from its settings."""
