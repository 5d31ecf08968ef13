"""Images, their views, rendering, and recipes."""

__all__ = [
    "class_folders",
    "dataset_source",
    "distilled",
    "images",
    "place",
    "recipe",
    "recipe_source",
    "recipes",
    "rendering",
    "siamese",
    "splits",
    "views",
    "whitening",
]
