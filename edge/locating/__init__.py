"""Finding cards in a frame: edges, corners, measured outlines, their poses, the choice among them."""
