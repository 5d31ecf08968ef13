"""The site's folder: which files in it are the site's own, so that others are left alone."""

import json
from pathlib import Path

from ...core.errors import UserError
from ...core.files import write_atomic

LIST = "site-files.json"


class SiteFolder:
    """Writes files, and in the end removes those of an older site that were not written anew.

    The list of the site's files is written before the files, so that a killed build can be
    mended by the next one.
    """

    def __init__(self, root: Path, names: list[str]) -> None:
        """Claim the files `names`, relative to `root`.

        Raises:
            UserError: one of them is there and belongs to something else, or `root` is no folder.
        """
        self.root, self.names = root, sorted(names)
        if root.exists() and not root.is_dir():
            raise UserError(f"The site's folder {str(root)!r} is a file.")
        self.older = self._listed()
        folders = {(root / name).parent for name in self.names}
        there = {path for folder in folders if folder.is_dir() for path in folder.iterdir()}
        for name in self.names:
            if name not in self.older and root / name in there:
                raise UserError(
                    f"{str(root / name)!r} is there already, and is no part of a site: name "
                    "another folder, or move the file."
                )
        self._list(sorted({*self.older, *self.names}))
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)

    def write(self, name: str, content: str | bytes) -> None:
        """Write one of the claimed files."""
        raw = content.encode("utf-8") if isinstance(content, str) else content
        (self.root / name).write_bytes(raw)

    def finish(self) -> None:
        """Remove what only the older site had."""
        for name in self.older - {*self.names}:
            path = self.root / name
            if path.is_file():
                path.unlink()
                if path.parent != self.root and not any(path.parent.iterdir()):
                    path.parent.rmdir()
        self._list(self.names)

    def _list(self, names: list[str]) -> None:
        write_atomic(self.root / LIST, (json.dumps(names, indent=0) + "\n").encode())

    def _listed(self) -> set[str]:
        """The older site's files, if there is one; names that lead elsewhere are passed over."""
        path = self.root / LIST
        if not path.is_file():
            return set()
        try:
            names = json.loads(path.read_text(encoding="utf-8"))
            inside = self.root.resolve()
            return {n for n in names if (inside / n).resolve().is_relative_to(inside)}
        except (ValueError, TypeError) as error:
            raise UserError(f"{str(path)!r} is no list of a site's files: {error}.") from error
