"""The checks that plugins are held against, a kind a file; problems are sentences for authors."""

from collections.abc import Iterator

from ...core import plugins
from ...core.plugins import Kind


def check(kind: Kind, name: str, argument: str = "") -> Iterator[tuple[str, str | None]]:
    """Run all checks of a kind on one plugin, on the CPU, in seconds.

    Stops after the first broken check that later ones rely on.

    Args:
        argument: what stands after a colon, for datasets and image sources that take it.

    Yields:
        Each check's title with its problem, or None if it holds.
    """
    if kind == plugins.METHODS:
        from .method import checks

        yield from checks(name)
    elif kind == plugins.DATASETS:
        from .dataset import checks

        yield from checks(name, argument)
    elif kind == plugins.IMAGES:
        from .image_source import checks

        yield from checks(name, argument)
    elif kind == plugins.NETWORKS:
        from .network import checks

        yield from checks(name)
    else:
        from .recipe import checks

        yield from checks(name)
