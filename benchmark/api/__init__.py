"""Python's way in: what the command line does, as functions that give what they found."""

__all__ = [
    "check",
    "measure",
    "records",
    "reference",
    "register",
    "results",
    "run",
    "size",
    "surroundings",
]
