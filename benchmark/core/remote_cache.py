"""Stages of a work folder behind a URL: copied there when made, and from there when missing."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .bounded_cache import BoundedCache, most_bytes, use
from .cache import NotMade
from .errors import UserError
from .remote_work import STAGES, RemoteWork


class RemoteCache(BoundedCache):
    """The stages of a `RemoteWork`; those that this machine has used lie here, up to a size.

    Only what is at the URL may leave this machine to make room.
    """

    def __init__(
        self, work: RemoteWork, look_only: bool = False, machine: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(work.folder / STAGES, most_bytes(), look_only, machine)
        self.work = work
        self._told = set[str]()  # stages that are at the URL, or noted to go there

    def done(self, kind: str, key: Mapping[str, Any]) -> bool:
        """Whether the stage is here, whole; it is fetched if it is at the URL.

        Where stages are only looked at, whether it is here or there.
        """
        folder = self.folder(kind, key)
        if self.look_only:
            return super().done(kind, key) or self.work.has_stage(folder.name)
        use(folder)
        if not (super().done(kind, key) or self.work.fetch_stage(folder.name)):
            return False
        self._keep(folder)
        return True

    def make(
        self, kind: str, key: Mapping[str, Any], build: Callable[[Path], None], about: str = ""
    ) -> Path:
        """The stage's folder here; one that was made is copied to the URL."""
        if self.look_only:
            if not super().done(kind, key):
                raise NotMade(f"The stage {self.folder(kind, key).name} is not on this machine.")
            return self.folder(kind, key)
        made = super().make(kind, key, build, about)
        self._keep(made)
        return made

    def _keep(self, folder: Path) -> None:
        """See to it, once a process, that a stage which is here is at the URL too."""
        if folder.name not in self._told:
            self._told.add(folder.name)
            self.work.put(folder)

    def may_go(self, folder: Path) -> bool:
        """Whether the stage is at the URL."""
        try:
            return self.work.has_stage(folder.name)
        except UserError:
            return False
