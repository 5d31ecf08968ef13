"""Images, their views, rendering, and recipes."""

__all__ = [
    "class_folders",
    "distilled",
    "images",
    "place",
    "recipe",
    "recipes",
    "rendering",
    "views",
]
