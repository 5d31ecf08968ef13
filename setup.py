"""What pyproject.toml cannot say: `methods/` and `datasets/` are subpackages of `benchmark`.

They stand at the top so that contributors find them, and are imported as `benchmark.methods` and
`benchmark.datasets` so that they cannot collide with other packages (Hugging Face `datasets` sits
in most environments).
"""

from setuptools import find_packages, setup

plugins = find_packages(include=["methods", "methods.*", "datasets", "datasets.*"])
setup(
    packages=[
        *find_packages(include=["benchmark", "benchmark.*"]),
        *(f"benchmark.{name}" for name in plugins),
    ],
    package_dir={"benchmark.methods": "methods", "benchmark.datasets": "datasets"},
)
