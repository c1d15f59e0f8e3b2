"""Simulate how a camera sees cards; read cards and backgrounds into memory."""
