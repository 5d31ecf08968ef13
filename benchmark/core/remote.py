"""Files and folders behind URLs, of any kind that `fsspec` knows: `s3://`, `https://`, ...

They are copied whole: to this machine to be read, and from it under another name first, so that
a reader sees all of it or none. What the network may mend by itself is tried again. Some kinds
need a package of their own, such as `s3fs`, which the error names; they find their credentials
themselves, and no message shows any.
"""

import atexit
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from .bounded import short
from .errors import UserError
from .files import disk_is_full, file_digest

T = TypeVar("T")
URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(::[A-Za-z0-9+.-]+)*://")
READ_ONLY = ("http", "https")
WAITS = (1.0, 3.0, 9.0)  # seconds before what failed is tried again
AT_ONCE = 64  # files that are asked for together
FINAL = (  # what another try would not mend
    UserError,
    ImportError,
    ValueError,
    TypeError,
    NotImplementedError,
    FileNotFoundError,
    FileExistsError,
    PermissionError,
    IsADirectoryError,
    NotADirectoryError,
)
SECRET = re.compile("SECRET|TOKEN|PASSW|ACCESS_KEY|API_KEY|CREDENTIAL|CONNECTION_STRING", re.I)
LEAST_SECRET = 6  # characters; a shorter word of the environment may stand in any sentence


def is_url(text: str) -> bool:
    """Whether a text names a place by a URL rather than by a path."""
    return URL.match(text) is not None


def name_of(url: str) -> str:
    """The last part of a URL's path."""
    path = re.sub(r"[?#].*", "", url) if _is_web(url) else url
    return path.rstrip("/").rpartition("/")[2] or "files"


def shown(url: str) -> str:
    """A URL as messages show it: without a user's name and password, and what follows a `?`."""
    place, asked, _ = url.partition("?")
    place = re.sub(r"(?<=://)[^/@]*@", "***@", place)
    return f"{place}?***" if asked else place


def scratch() -> Path:
    """A new folder that lasts as long as this process."""
    folder = Path(tempfile.mkdtemp(prefix="labelbench-"))
    atexit.register(_remove, folder, os.getpid())
    return folder


def _remove(folder: Path, process: int) -> None:
    if os.getpid() == process:  # not one that was forked
        shutil.rmtree(folder, ignore_errors=True)


def fetch(
    url: str,
    target: Path,
    folder: bool | None = None,
    only: Callable[[str], bool] | None = None,
) -> None:
    """Copy the file or folder at a URL to `target`, which is not there yet.

    Args:
        folder: whether it is one; as the place itself says if None. Of the web it is where the
            URL ends in a slash, and the files are those that its pages link to.
        only: of a folder, which files to copy, by their paths in it; all by default.

    Raises:
        UserError: there is nothing, or it cannot be read.
    """
    with _asked(url, "read"):
        system, path = _opened(url)
        if folder is None:
            folder = url.endswith("/") if _is_web(url) else _tried(system.isdir, path)
        if not folder:
            _tried(system.get_file, path, str(target))
            return
        names = [name for name in _found(system, path) if only is None or only(name)]
        if not names:
            raise FileNotFoundError("no files are found there")
        _get(system, path, names, target)


def fetch_files(url: str, names: Sequence[str], folder: Path) -> None:
    """Copy files of the folder at a URL into a folder, several at a time where its kind can.

    Raises:
        UserError: one is not there, or cannot be read.
    """
    with _asked(url, "read"):
        system, path = _opened(url)
        _get(system, path, [_plain(name) for name in names], folder)


def sizes(url: str) -> dict[str, int]:
    """The files below a URL by their paths from there, and their bytes; none where nothing is.

    Raises:
        UserError: it cannot be read.
    """
    with _asked(url, "read"):
        system, path = _opened(url)
        try:
            return _found(system, path)
        except FileNotFoundError:
            return {}


def exists(url: str) -> bool:
    """Whether there is a file or a folder at a URL.

    Raises:
        UserError: it cannot be asked.
    """
    with _asked(url, "read"):
        system, path = _opened(url)
        try:
            _tried(system.info, path)
        except FileNotFoundError:
            return False
    return True


def put_file(file: Path, url: str, whole: bool = True) -> None:
    """Copy a file to a URL, in the place of what is there.

    Args:
        whole: under another name first, so that no reader sees a part of it.

    Raises:
        UserError: it cannot be written to.
    """
    with _asked(url, "write"):
        system, path = _opened_to_write(url)
        if not whole:
            _put(system, file, path)
            return
        with _partial(system, path) as partial:
            _put(system, file, partial)
            _tried(system.mv, partial, path)


def remove(url: str) -> None:
    """Take the file at a URL away, if there is one.

    Raises:
        UserError: it cannot be.
    """
    with _asked(url, "write"):
        system, path = _opened_to_write(url)
        try:
            _tried(system.rm_file, path)
        except FileNotFoundError:
            return


def put_folder(source: Path, url: str) -> None:
    """Copy a folder to a URL where nothing is yet, whole or not at all.

    Raises:
        UserError: something is there, or it cannot be written to.
    """
    with _asked(url, "write"):
        system, path = _opened_to_write(url)
        if system.exists(path):
            raise UserError(f"{shown(url)!r} exists already; name a new folder.")
        with _partial(system, path) as partial:
            for file in sorted(p for p in source.rglob("*") if p.is_file()):
                _put(system, file, f"{partial}/{file.relative_to(source).as_posix()}")
            system.mv(partial, path, recursive=True)


@contextmanager
def edited(url: str) -> Iterator[Path]:
    """The file at a URL as one on this machine, put back if it is another when all went well.

    Yields:
        Its path, under its own name; there is no file there yet if there is none at the URL.

    Raises:
        UserError: it cannot be read or written to.
    """
    with tempfile.TemporaryDirectory(prefix="labelbench-") as folder:
        file = Path(folder, name_of(url))
        with _asked(url, "write"):
            system, path = _opened_to_write(url)
            if system.exists(path):
                _tried(system.get_file, path, str(file))
        before = file_digest(file) if file.exists() else ""
        yield file
        if not file.exists() or file_digest(file) == before:
            return
        with _asked(url, "write"), _partial(system, path) as partial:
            _put(system, file, partial)
            system.mv(partial, path)


def _get(system: Any, path: str, names: Sequence[str], target: Path) -> None:
    """Copy files of a folder there into one here, some at once where the system can."""
    for start in range(0, len(names), AT_ONCE):
        some = names[start : start + AT_ONCE]
        for name in some:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
        there = [f"{path.rstrip('/')}/{name}" for name in some]
        _tried(system.get, there, [str(target / name) for name in some])


def _put(system: Any, file: Path, path: str) -> None:
    folder = path.rpartition("/")[0]
    if folder.startswith("/"):  # object stores have no folders, and would make a bucket
        _tried(system.makedirs, folder, exist_ok=True)
    _tried(system.put_file, str(file), path)


def _found(system: Any, path: str) -> dict[str, int]:
    """The files below a path by their paths from there, and their bytes, where they are told."""
    base = path.rstrip("/") + "/"
    told = _tried(system.find, base, detail=True)
    names = {found.removeprefix(base): info.get("size") or 0 for found, info in told.items()}
    return {_plain(n): size for n, size in names.items() if n and not re.search(r"[?#]|/$", n)}


def _plain(name: str) -> str:
    """A path that stays in its folder."""
    if {"..", ""} & {*name.split("/")}:
        raise UserError(f"The place holds a file called {short(name)!r}, which leads out of it.")
    return name


def _tried(act: Callable[..., T], *arguments: Any, **named: Any) -> T:
    """What an operation of a file system gives; tried again where the network may be at fault."""
    for wait in WAITS:
        try:
            return act(*arguments, **named)
        except Exception as error:  # of whichever library
            if isinstance(error, FINAL) or disk_is_full(error) or "Credentials" in repr(error):
                raise
        time.sleep(wait)
    return act(*arguments, **named)


@contextmanager
def _partial(system: Any, path: str) -> Iterator[str]:
    """A name beside a path, at which nothing is left if anything goes wrong."""
    parent, slash, name = path.rstrip("/").rpartition("/")
    partial = f"{parent}{slash}.{name}.{secrets.token_hex(4)}.partial"
    try:
        yield partial
    except BaseException:
        if system.exists(partial):
            system.rm(partial, recursive=True)
        raise


def _opened(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path there."""
    from fsspec.core import url_to_fs

    system, path = url_to_fs(url)
    system.invalidate_cache()  # others write there too
    return system, path


def _opened_to_write(url: str) -> tuple[Any, str]:
    if _is_web(url):
        raise UserError(
            f"{shown(url)!r} can only be read. Write to a path, or a URL such as s3://."
        )
    return _opened(url)


def _is_web(url: str) -> bool:
    return url.partition("://")[0].lower() in READ_ONLY


@contextmanager
def _asked(url: str, to: str) -> Iterator[None]:
    """Errors of the place and of the way to it as sentences."""
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError as error:
        told = _discreet(str(error), url)
        raise UserError(f"There is nothing at {shown(url)!r} ({told}).") from error
    except Exception as error:  # of whichever library reads such URLs
        if disk_is_full(error):
            raise
        told = f"{type(error).__name__}: {_discreet(str(error), url)}"
        if isinstance(error, ImportError):
            raise UserError(
                f"{shown(url)!r} needs a package that is not installed ({told})."
            ) from error
        raise UserError(f"Cannot {to} {shown(url)!r} ({told}).") from error


def _discreet(text: str, url: str) -> str:
    """What an error says, in a line, without what would let others in."""
    secret = [value for name, value in os.environ.items() if SECRET.search(name)]
    user = re.search(r"://([^/@]*)@", url)
    secret += user[1].split(":") if user else []
    secret += [url.partition("?")[2]]
    for word in sorted(filter(None, secret), key=len, reverse=True):
        if len(word) >= LEAST_SECRET or (user and word in user[1]):
            text = text.replace(word, "***")
    return short(text, 200)
