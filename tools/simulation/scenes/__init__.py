"""Composed scenes of many cards, with the outline of each, for training and measuring the card locator."""
