"""Real datasets, one a file; `distilled/` holds the ways to make distilled images.

A dataset is a module with `load(place: Place) -> Dataset`, found by its file's name. Its
docstring's first line is what `python -m benchmark list` shows.
"""
