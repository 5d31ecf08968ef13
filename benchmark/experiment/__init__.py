"""Measuring: grids of cells, the stages they need, students; and the checks of plugins."""

__all__ = [
    "clean",
    "conformance",
    "dataset_and_teacher",
    "grid",
    "jobs",
    "on_ray",
    "profile",
    "reference",
    "run_cell",
    "run_grid",
    "sizes",
    "stages",
]
