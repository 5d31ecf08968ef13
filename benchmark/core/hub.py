"""The Hugging Face Hub: repositories named, listed, fetched, and changed in one commit.

`hf:OWNER/NAME[@REVISION]` is a repository, `:CONFIG` behind it one of the sets of labels in it,
`/FILE` a file. HF_ENDPOINT, HF_TOKEN, HF_HUB_CACHE and HF_HUB_OFFLINE count as they do for
`huggingface_hub`.
"""

import hashlib
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from .bounded import short
from .errors import UserError
from .files import disk_is_full, file_digest
from .hub_errors import Absent, Unreachable, endpoint, explained, token
from .progress import say

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

PREFIX = "hf:"
CARD = "README.md"
OF_THE_HUB = (".gitattributes",)  # which it puts into every repository
PART = r"[A-Za-z0-9](?:[\w.-]*\w)?"
GRAMMAR = re.compile(
    rf"(?:hf:)?(?://)?(?:(?:datasets|models)/)?(?P<name>{PART}/{PART})(?:@(?P<revision>[^/:]+))?"
    rf"(?::(?P<config>{PART})|/(?P<file>[^:@]+))?"
)
COMMIT = re.compile(r"[0-9a-f]{40}")
PATIENCE = 10.0  # seconds until the Hub does not answer
Kind = Literal["dataset", "model"]


@dataclass(frozen=True)
class Stored:
    """A file of a repository, as a listing tells it.

    Attributes:
        blob: the SHA-1 that git has for it.
        sha256: of its bytes, where it lies outside of git (LFS, Xet); else empty.
    """

    size: int
    blob: str
    sha256: str = ""

    def is_same(self, file: Path) -> bool:
        """Whether it has a file's bytes."""
        if self.size != file.stat().st_size:
            return False
        if self.sha256:
            return self.sha256 == file_digest(file)
        told = hashlib.sha1(f"blob {self.size}\0".encode(), usedforsecurity=False)
        told.update(file.read_bytes())
        return told.hexdigest() == self.blob


@dataclass(frozen=True)
class Listing:
    """What a repository holds at one commit; files by their paths, the Hub's own left out."""

    commit: str
    files: dict[str, Stored]


@dataclass(frozen=True)
class Repository:
    """A repository of the Hub, and what of it is meant.

    Attributes:
        name: OWNER/NAME.
        revision: a branch, a tag or a commit; empty for the main branch.
        config: which of its sets of labels; empty where none is named.
        file: path of a file in it; empty for all of it.
    """

    name: str
    kind: Kind
    revision: str = ""
    config: str = ""
    file: str = ""

    @classmethod
    def parse(cls, text: str, kind: Kind) -> "Repository":
        """The repository that `hf:OWNER/NAME...`, or the same without `hf:`, stands for.

        Raises:
            UserError: it stands for none.
        """
        found = GRAMMAR.fullmatch(text)
        unfit = "file" if kind == "dataset" else "config"
        if found is None or found[unfit] or "--" in found["name"] or ".." in text:
            tail = "[:CONFIG]" if kind == "dataset" else "[/FILE]"
            raise UserError(
                f"{short(text, 200)!r} names no {kind} repository of the Hub. Give "
                f"hf:OWNER/NAME[@REVISION]{tail}, of letters, digits, '-', '_' and '.'."
            )
        return cls(kind=kind, **{name: part or "" for name, part in found.groupdict().items()})

    def at(self, revision: str) -> "Repository":
        """The same at another revision."""
        return replace(self, revision=revision)

    def listing(self) -> Listing:
        """What it holds.

        Raises:
            UserError: it, or its revision, is not there, or the Hub cannot be asked.
        """
        from huggingface_hub.hf_api import RepoFile

        with self._asked("read"):
            told = _api().repo_info(self.name, repo_type=self.kind, revision=self.revision or None)
            assert isinstance(told.sha, str)
            tree = _api().list_repo_tree(
                self.name, repo_type=self.kind, revision=told.sha, recursive=True
            )
            found = dict(_told(entry) for entry in tree if isinstance(entry, RepoFile))
        files = {path: found[path] for path in sorted(found) if path not in OF_THE_HUB}
        return Listing(told.sha, files)

    def fetch(self, allow: Sequence[str], ignore: Sequence[str] = ()) -> Path:
        """The files whose paths fit a pattern of `allow` and none of `ignore`.

        Returns:
            A folder of the Hub's cache, called after the commit. It may hold other files too, and
            links in the place of files. Where the Hub cannot be reached the cache answers as it
            is, which is said.

        Raises:
            UserError: the repository or its revision is not there, or is not whole on this machine
                while the Hub cannot be reached.
        """
        ignored = [*ignore, *OF_THE_HUB]

        def ask(revision: str | None, cached: bool) -> str:
            return _api().snapshot_download(
                self.name,
                repo_type=self.kind,
                revision=revision,
                allow_patterns=[*allow],
                ignore_patterns=ignored,
                local_files_only=cached,
            )

        return self._ask(ask)

    def fetch_file(self) -> Path:
        """The one file that is meant, in the Hub's cache; as `fetch` does.

        Raises:
            UserError: as for `fetch`, or the repository has no such file.
        """
        from huggingface_hub.errors import RemoteEntryNotFoundError

        def ask(revision: str | None, cached: bool) -> str:
            return _api().hf_hub_download(
                self.name,
                self.file,
                repo_type=self.kind,
                revision=revision,
                local_files_only=cached,
            )

        try:
            return self._ask(ask)
        except UserError as error:
            if isinstance(error.__cause__, RemoteEntryNotFoundError):
                held = short(", ".join(self.listing().files), 300) or "nothing"
                raise UserError(
                    f"{self.name!r} has no file {self.file!r}. It holds: {held}."
                ) from error
            raise

    def _ask(self, ask: Callable[[str | None, bool], str]) -> Path:
        """What `ask` gives, of a revision, from the Hub or else from its cache alone."""
        try:
            with self._asked("read"):
                if not COMMIT.fullmatch(self.revision):  # is there somebody to answer?
                    _api().repo_info(self.name, repo_type=self.kind, timeout=PATIENCE)
                return Path(ask(self.revision or None, False))
        except Unreachable as error:
            try:
                found = Path(ask(self.revision or None, True))
            except (OSError, ValueError):  # it has never been here, or not whole
                raise error from None
            say(f"{self} as this machine's cache has it. {error}")
            return found

    def check_push(self) -> None:
        """Refuse at once what cannot be pushed to.

        Raises:
            UserError: a part of a repository is named, or there is no token.
        """
        if self.revision or self.file:
            raise UserError(f"Name OWNER/NAME alone to push to, not {self}.")
        if not token():
            raise UserError(
                f"Pushing to {self.name!r} takes a token of {endpoint()} that may write: set "
                "HF_TOKEN, or run `hf auth login`."
            )

    def look_to_push(self) -> Listing | None:
        """What it holds before something is pushed to it; None where it is yet to be made.

        Raises:
            UserError: there is no token, or the Hub cannot be asked.
        """
        self.check_push()
        try:
            return self.listing()
        except Absent:
            return None

    def create(self, private: bool) -> Listing:
        """Make it, for others to see unless `private`; what it holds then."""
        with self._asked("write"):
            _api().create_repo(self.name, repo_type=self.kind, private=private, exist_ok=True)
        return self.listing()

    def commit(self, files: Mapping[str, Path | bytes], message: str, parent: str) -> str:
        """Add files in one commit on top of `parent`; all of them or none.

        Returns:
            Where the commit can be looked at.

        Raises:
            Changed: the repository has another commit by now.
            UserError: the Hub refuses it or cannot be reached.
        """
        from huggingface_hub import CommitOperationAdd

        with self._asked("write"):
            made = _api().create_commit(
                self.name,
                [
                    CommitOperationAdd(name, str(held) if isinstance(held, Path) else held)
                    for name, held in files.items()
                ],
                commit_message=message,
                repo_type=self.kind,
                parent_commit=parent,
            )
        return made.commit_url

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        config = f":{self.config}" if self.config else ""
        return f"{PREFIX}{self.name}{revision}{config}{f'/{self.file}' if self.file else ''}"

    @contextmanager
    def _asked(self, to: Literal["read", "write"]) -> Iterator[None]:
        """Errors of the Hub and of the way to it as sentences that say what to do."""
        try:
            yield
        except UserError:
            raise
        except Exception as error:  # of the library, of whichever library it asks with
            if disk_is_full(error):
                raise
            raise explained(error, to, self.name, self.kind, self.revision) from error


def _told(entry: "RepoFile") -> tuple[str, Stored]:
    """A file of a listing, by its path.

    Raises:
        TypeError: the server says what is none.
    """
    stored = Stored(entry.size, entry.blob_id, entry.lfs.sha256 if entry.lfs else "")
    parts = [entry.path, *vars(stored).values()]
    if [type(part) for part in parts] != [str, int, str, str]:
        raise TypeError(f"it lists a file as {short(repr(parts), 100)}")
    return entry.path, stored


def is_named(text: str) -> bool:
    """Whether a text begins as a place on the Hub does."""
    return text.startswith(PREFIX)


@cache
def weights_file(text: str, suffixes: tuple[str, ...]) -> Path:
    """A file of weights of a model repository, in the Hub's cache; asked for once a process.

    Args:
        text: `hf:OWNER/NAME[@REVISION]/FILE`; without FILE the repository's only file that ends in
            one of the suffixes, the first suffix before the others.

    Raises:
        UserError: there is none, or there are several.
    """
    repository = Repository.parse(text, "model")
    if not repository.file:
        held = repository.listing().files
        by_suffix = ([name for name in held if name.endswith(suffix)] for suffix in suffixes)
        names = next(filter(None, by_suffix), [])
        if len(names) != 1:
            shown = short(", ".join(names or held), 300) or "nothing"
            raise UserError(f"Name one file of weights, as {repository}/FILE. It holds: {shown}.")
        repository = replace(repository, file=names[0])
    return repository.fetch_file()


def _api() -> "HfApi":
    from huggingface_hub import HfApi, constants
    from huggingface_hub.utils import disable_progress_bars

    if not sys.stderr.isatty() and constants.HF_HUB_DISABLE_PROGRESS_BARS is None:
        disable_progress_bars()  # a log is no place for them
    return HfApi(endpoint=endpoint(), library_name="labelbench")
