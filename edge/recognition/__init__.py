"""From a card image to a decision: embedding, neighbors, verification, printing."""
