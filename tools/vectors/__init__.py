"""Galleries as vectors: tables of other pipelines, fewer dimensions, and the forms a bundle stores vectors in."""
