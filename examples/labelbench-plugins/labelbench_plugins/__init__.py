"""Examples of plugins for labelbench: three methods, a dataset, images, networks, a recipe."""
