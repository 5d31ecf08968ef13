"""Real datasets, one a file; `distilled/` holds the ways to make distilled images.

See `benchmark.data.dataset_source` for the contract. A docstring's first line is what
`python -m benchmark list` shows.
"""
