"""Networks, teachers, priors, and how they are trained."""

__all__ = [
    "agreement",
    "batch_norm",
    "classifier",
    "gradients",
    "image_source",
    "joins",
    "network_family",
    "networks",
    "priors",
    "ridge",
    "teachers",
    "training",
    "whole_batch_norm",
]
