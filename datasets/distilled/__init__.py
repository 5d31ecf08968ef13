"""Image sources, one a file: where a set of distilled images comes from.

See `benchmark.models.image_source` for the contract. A docstring's first line is what
`python -m benchmark list` shows.
"""
