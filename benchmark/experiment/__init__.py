"""Measuring: grids of cells, the stages they need, students; and the checks of plugins."""

__all__ = [
    "clean",
    "conformance",
    "dataset_and_teacher",
    "distortion",
    "grid",
    "imagenet_sizes",
    "jobs",
    "measure_each",
    "on_ranks",
    "on_ray",
    "plan",
    "profile",
    "reference",
    "run_cell",
    "run_grid",
    "shard",
    "sizes",
    "stages",
]
