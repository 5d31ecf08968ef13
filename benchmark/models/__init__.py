"""Networks, teachers, priors, and how they are trained."""

__all__ = [
    "batch_norm",
    "classifier",
    "image_source",
    "network_family",
    "networks",
    "priors",
    "ridge",
    "teachers",
    "training",
]
