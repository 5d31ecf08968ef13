"""Labels that change hands: others' formats, shipping, import and export."""

__all__ = [
    "convert",
    "hub",
    "official",
    "shipping",
]
