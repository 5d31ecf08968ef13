"""Where real data lies on this machine, and what to say when it does not."""

from dataclasses import dataclass
from pathlib import Path

from ..core.cache import Cache
from ..core.errors import UserError


@dataclass(frozen=True)
class Place:
    """What a dataset's `load` is given.

    Attributes:
        root: the data root (`--data-root` or LABELBENCH_DATA); None where the user named none.
        cache: where decoded pixels are kept.
        download: whether the user allowed a download into the root.
    """

    root: Path | None
    cache: Cache
    download: bool = False

    def folder(self, argument: str) -> Path | None:
        """The folder that a user named; relative paths start at the root, if it is there.

        Returns None where there is no such folder.
        """
        given = Path(argument)
        roots = [] if given.is_absolute() or self.root is None else [self.root]
        try:
            found = (path for path in (*(root / given for root in roots), given) if path.is_dir())
            return next(found, None) if argument else None
        except OSError:  # such as a name that is too long
            return None

    def find(self, name: str, *layouts: str) -> Path | None:
        """The first of `layouts` (paths under the root) that exists.

        Returns None where none does and a download is allowed.

        Raises:
            UserError: there is no root, or nothing of these layouts in it.
        """
        layouts_shown = " or ".join(f"<data root>/{layout}" for layout in layouts)
        if self.root is None:
            raise UserError(
                f"Dataset {name!r} needs a data root: pass --data-root PATH or set "
                f"LABELBENCH_DATA, and put {layouts_shown} there."
            )
        if not self.root.is_dir():
            raise UserError(f"The data root {str(self.root)!r} is not a folder.")
        for layout in layouts:
            if (self.root / layout).exists():
                return self.root / layout
        if self.download:
            return None
        raise UserError(
            f"Dataset {name!r} is not in the data root {str(self.root)!r}: put {layouts_shown}."
        )
