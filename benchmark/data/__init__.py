"""Images, their views, rendering, and recipes."""

__all__ = [
    "class_folders",
    "dataset_source",
    "denormalised",
    "distilled",
    "grid_picture",
    "images",
    "picture_bytes",
    "place",
    "recipe",
    "recipe_source",
    "recipes",
    "rendering",
    "siamese",
    "splits",
    "tensors_of_others",
    "views",
    "whitening",
]
