"""Records: what a measurement says, records on disk, and setting them side by side."""

__all__ = [
    "bjontegaard",
    "collection",
    "comparison",
    "distortion",
    "environment",
    "hub",
    "ledger",
    "measurements",
    "record",
    "replications",
    "speed",
    "statistics",
    "store",
    "worlds",
]
