"""Measuring: grids of cells, the stages they need, students; and the checks of plugins."""

__all__ = [
    "clean",
    "conformance",
    "dataset_and_teacher",
    "distortion",
    "grid",
    "jobs",
    "measure_each",
    "on_ranks",
    "on_ray",
    "plan",
    "plans",
    "profile",
    "reference",
    "run_cell",
    "run_grid",
    "shard",
    "sizes",
    "stages",
]
