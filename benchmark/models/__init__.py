"""Networks, teachers, priors, and how they are trained."""

__all__ = [
    "agreement",
    "batch_norm",
    "classifier",
    "image_source",
    "joins",
    "network_family",
    "networks",
    "priors",
    "ridge",
    "teachers",
    "training",
]
