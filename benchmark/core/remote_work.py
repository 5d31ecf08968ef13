"""A work folder behind a URL, and the folder on this machine that stands in for it.

Everything is made in the folder here, which lies in the user's cache, one for each URL. What is
finished is copied to the URL: a stage once, its seal last, so that a reader finds a whole one or
none; a record as an object of its own, under its key and world, so that runs at the same time add
theirs and never write over another's. What is missing here is looked for there.

Object stores have no locks. What two machines make at once is made twice, under one key: the first
that is whole there stays. Mixed files of two would not have their seal's digests, so nobody takes
them; the stage is made again.

What could not be written is noted in `pending/` here until it could, and nothing is lost: the next
run, or the next thing that is finished, takes it along.
"""

import contextlib
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from . import remote
from .bounded_cache import shared_folder
from .cache import SEAL, damage, remove
from .errors import UserError
from .files import digest
from .progress import say

STAGES, PENDING, MARK = "stages", "pending", "labelbench.txt"
COMING = ".coming"  # at the end of a stage's name that is being copied from the URL
SETTLED = 60.0  # seconds after which a file here would be noted, if it had yet to go to the URL
AGAIN = "again"  # noted of a stage that replaces a damaged one
TOLD = "A work folder of labelbench: stages, and records by their keys and worlds.\n"


@dataclass(frozen=True)
class RemoteWork:
    """A work folder at a URL that can be written to, such as `s3://bucket/runs`.

    Attributes:
        folder: where it is kept on this machine.
    """

    url: str
    folder: Path

    @classmethod
    def at(cls, place: str | Path) -> "RemoteWork | None":
        """The work folder at a URL; None where it is a folder of this machine.

        Raises:
            UserError: it can be none.
        """
        text = str(place)
        if not remote.is_url(text):
            if not text.strip():
                raise UserError(f"--work takes a folder or a URL, got {text!r}; the usual is runs.")
            if Path(text).is_file():
                raise UserError(f"--work takes a folder or a URL, and {text!r} is a file.")
            return None
        kind = text.partition("://")[0].lower()
        if kind in remote.READ_ONLY or "::" in kind or "?" in text or "#" in text:
            raise UserError(
                f"--work takes a folder, or a URL that can be written to, such as "
                f"s3://BUCKET/FOLDER, not {remote.shown(text)!r}."
            )
        url = text.rstrip("/")
        name = f"{remote.name_of(url)}-{digest(url)[:12]}"
        return cls(url, shared_folder() / "work" / name)

    def open(self, name: str, write: bool) -> None:
        """Have the files of the folder `name` here as they are there, but for those still to go.

        Args:
            write: also copy what could not be copied before; fails early where nothing can be.

        Raises:
            UserError: the URL cannot be read, or written to.
        """
        if write:
            self._mark()
            self.put()
        here = self.folder / name
        here.mkdir(parents=True, exist_ok=True)
        there = {n: s for n, s in remote.sizes(self._at(name)).items() if "/" not in n}
        there = {n: size for n, size in there.items() if not n.startswith(".")}
        waiting = {note.name for note in (self.folder / PENDING / name).glob("*")}
        missing = []
        for file, size in there.items():
            mine = here / file
            if file not in waiting and not (mine.exists() and mine.stat().st_size == size):
                missing.append(file)
        known = {*there, *waiting}
        for mine in here.iterdir():
            if mine.name not in known and time.time() - mine.stat().st_mtime > SETTLED:
                mine.unlink(missing_ok=True)  # it was taken away there
        self._fetch(name, missing)

    def fetch(self, name: str) -> bool:
        """Have a file here if it is there; its path goes from the work folder."""
        if not remote.exists(self._at(name)):
            return False
        folder, _, file = name.rpartition("/")
        self._fetch(folder, [file])
        return True

    def _fetch(self, folder: str, names: list[str]) -> None:
        """Copy files of a folder there into the one here, each whole or not at all."""
        coming = remote.scratch()
        try:
            remote.fetch_files(self._at(folder), names, coming)
            for name in names:
                shutil.copyfile(coming / name, self.folder / folder / f".{name}{COMING}")
                (self.folder / folder / f".{name}{COMING}").replace(self.folder / folder / name)
        finally:
            shutil.rmtree(coming, ignore_errors=True)

    def has_stage(self, name: str) -> bool:
        """Whether a stage is there, whole."""
        return remote.exists(self._at(f"{STAGES}/{name}/{SEAL}"))

    def fetch_stage(self, name: str) -> bool:
        """Have a stage here if it is there; whether it came, and every byte is its seal's.

        One that is damaged there is said and left, and will be replaced when it is made again.
        """
        folder = self.folder / STAGES / name
        if not self.has_stage(name):
            return False
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if folder.is_dir():
                if damage(folder) is None:
                    return True
                remove(folder)
            coming = folder.with_name(name + COMING)
            for _ in range(2):  # somebody may have been replacing it
                shutil.rmtree(coming, ignore_errors=True)
                remote.fetch(self._at(f"{STAGES}/{name}"), coming, folder=True)
                wrong = damage(coming)
                if wrong is None:
                    coming.rename(folder)
                    return True
            shutil.rmtree(coming)
            say(f"{name} at {remote.shown(self.url)} is damaged ({wrong}): it is made again")
            self._note(folder, AGAIN)
            return False

    def put(self, *paths: Path) -> None:
        """Copy stages and files of the folder here to the URL, and what could not be before.

        Nothing is raised where the URL cannot be written to: it is said, and noted for later.
        """
        for path in paths:
            self._note(path)
        for note, told in self._notes():
            path = self.folder / note.relative_to(self.folder / PENDING)
            if told == AGAIN and not path.exists():
                continue  # it has yet to be made
            try:
                if path.is_dir():
                    self._put_stage(path, replace=told == AGAIN)
                elif path.is_file():
                    remote.put_file(path, self._at(path.relative_to(self.folder).as_posix()))
            except UserError as error:
                say(f"{error} What is finished is kept in {self.folder}, and tried again later.")
                return
            note.unlink(missing_ok=True)

    def remove(self, path: Path) -> None:
        """Take a file of the folder here away, and there as well."""
        path.unlink(missing_ok=True)
        (self.folder / PENDING / path.relative_to(self.folder)).unlink(missing_ok=True)
        try:
            remote.remove(self._at(path.relative_to(self.folder).as_posix()))
        except UserError as error:
            say(str(error))

    def unsaved(self) -> str:
        """What could not be copied to the URL, and how to go on, in a sentence; empty if nothing.

        It is tried once more.
        """
        self.put()
        left = [note for note, told in self._notes() if told != AGAIN]
        if not left:
            return ""
        return (
            f"{len(left)} stages and records could not be written to {remote.shown(self.url)}: "
            f"they are kept in {self.folder}. Run the same command again to copy them there."
        )

    def _put_stage(self, folder: Path, replace: bool) -> None:
        base = self._at(f"{STAGES}/{folder.name}")
        if replace:
            remote.remove(f"{base}/{SEAL}")  # so that nobody reads while its files change
        elif self.has_stage(folder.name):
            return
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            if file != folder / SEAL:
                name = file.relative_to(folder).as_posix()
                remote.put_file(file, f"{base}/{name}", whole=False)
        remote.put_file(folder / SEAL, f"{base}/{SEAL}")

    def _note(self, path: Path, text: str = "") -> None:
        note = self.folder / PENDING / path.relative_to(self.folder)
        note.parent.mkdir(parents=True, exist_ok=True)
        if not note.exists():
            note.write_text(text)

    def _notes(self) -> list[tuple[Path, str]]:
        """Of what has yet to go to the URL, and what each says; records after their stages."""
        found = []
        for note in (self.folder / PENDING).rglob("*"):
            with contextlib.suppress(FileNotFoundError, IsADirectoryError):  # it has gone
                found.append((note, note.read_text()))
        return sorted(found, key=lambda each: (each[0].parent.name != STAGES, each[0]))

    def _mark(self) -> None:
        """Say there what it is, and find out whether it can be written to."""
        if not remote.exists(self._at(MARK)):
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / MARK).write_text(TOLD)
            remote.put_file(self.folder / MARK, self._at(MARK))

    def _at(self, name: str) -> str:
        return f"{self.url}/{name}"
