"""Galleries as vectors: tables of other pipelines, dimensionality reduction, and the forms in which a bundle stores vectors."""
