"""From a card list to a bundle: read, check, embed, group."""
