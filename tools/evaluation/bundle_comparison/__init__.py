"""Comparison of two bundles on the same queries."""
