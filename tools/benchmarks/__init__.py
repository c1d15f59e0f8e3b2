"""Benchmarks of speed and load; the only package of ``tools`` that may import ``edge.daemon`` and ``edge.web``."""
