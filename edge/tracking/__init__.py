"""From decisions per frame to changes over time."""
