"""Labels: what a method is, what it ships, and the helpers that methods build on."""

__all__ = [
    "artefact",
    "class_labels",
    "contract",
    "distill",
    "ensemble",
    "image_labels",
    "label_learning",
    "label_pool",
    "manifest",
    "packing",
    "shared_cache",
    "stored_views",
    "streams",
    "student",
    "task",
    "teacher_logits",
    "validation",
    "weights",
    "writer",
]
