"""The stages of building a bundle: list, examine, embed, judge, group; ``tools/build_index.py`` strings them together."""
