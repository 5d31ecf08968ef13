"""Labels: what a method is, what it ships, and the helpers that methods build on."""

__all__ = [
    "artefact",
    "contract",
    "distill",
    "ensemble",
    "image_labels",
    "label_learning",
    "packing",
    "shared_cache",
    "stored_views",
    "student",
    "teacher_logits",
    "validation",
    "weights",
    "writer",
]
