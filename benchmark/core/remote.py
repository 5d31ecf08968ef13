"""Files and folders behind URLs, of any kind that `fsspec` knows: `s3://`, `https://`, ...

They are copied whole: to this machine to be read, and from it under another name first, so that
a reader sees all of it or none. Some kinds need a package of their own, such as `s3fs`, which the
error names.
"""

import atexit
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .bounded import short
from .errors import UserError
from .files import disk_is_full, file_digest

URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(::[A-Za-z0-9+.-]+)*://")
READ_ONLY = ("http", "https")


def is_url(text: str) -> bool:
    """Whether a text names a place by a URL rather than by a path."""
    return URL.match(text) is not None


def name_of(url: str) -> str:
    """The last part of a URL's path."""
    path = re.sub(r"[?#].*", "", url) if _is_web(url) else url
    return path.rstrip("/").rpartition("/")[2] or "files"


def scratch() -> Path:
    """A new folder that lasts as long as this process."""
    folder = Path(tempfile.mkdtemp(prefix="labelbench-"))
    atexit.register(_remove, folder, os.getpid())
    return folder


def _remove(folder: Path, process: int) -> None:
    if os.getpid() == process:  # not one that was forked
        shutil.rmtree(folder, ignore_errors=True)


def fetch(url: str, target: Path, folder: bool | None = None) -> None:
    """Copy the file or folder at a URL to `target`, which is not there yet.

    Args:
        folder: whether it is one; as the place itself says if None. Of the web it is where the
            URL ends in a slash, and the files are those that its pages link to.

    Raises:
        UserError: there is nothing, or it cannot be read.
    """
    with _asked(url, "read"):
        system, path = _opened(url)
        if folder is None:
            folder = url.endswith("/") if _is_web(url) else system.isdir(path)
        if not folder:
            system.get_file(path, str(target))
            return
        base = path.rstrip("/") + "/"
        names = [found.removeprefix(base) for found in system.find(base) if found != base]
        files = [name for name in names if not re.search(r"[?#]|/$", name)]
        if not files:
            raise FileNotFoundError("no files are found there")
        for name in files:
            if {"..", ""} & {*name.split("/")}:
                raise UserError(f"{url!r} holds a file called {short(name)!r}.")
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            system.get_file(base + name, str(target / name))


def put_folder(source: Path, url: str) -> None:
    """Copy a folder to a URL where nothing is yet, whole or not at all.

    Raises:
        UserError: something is there, or it cannot be written to.
    """
    with _asked(url, "write"):
        system, path = _opened_to_write(url)
        if system.exists(path):
            raise UserError(f"{url!r} exists already; name a new folder.")
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
                system.get_file(path, str(file))
        before = file_digest(file) if file.exists() else ""
        yield file
        if not file.exists() or file_digest(file) == before:
            return
        with _asked(url, "write"), _partial(system, path) as partial:
            _put(system, file, partial)
            system.mv(partial, path)


def _put(system: Any, file: Path, path: str) -> None:
    system.makedirs(path.rpartition("/")[0], exist_ok=True)
    system.put_file(str(file), path)


@contextmanager
def _partial(system: Any, path: str) -> Iterator[str]:
    """A name beside a path, at which nothing is left if anything goes wrong."""
    parent, slash, name = path.rstrip("/").rpartition("/")
    partial = f"{parent}{slash}.{name}.{os.getpid()}.partial"
    try:
        yield partial
    except BaseException:
        if system.exists(partial):
            system.rm(partial, recursive=True)
        raise


def _opened(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path there."""
    from fsspec.core import url_to_fs

    return url_to_fs(url)


def _opened_to_write(url: str) -> tuple[Any, str]:
    if _is_web(url):
        raise UserError(f"{url!r} can only be read. Write to a path, or a URL such as s3://.")
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
        raise UserError(f"There is nothing at {url!r} ({short(str(error), 200)}).") from error
    except Exception as error:  # of whichever library reads such URLs
        if disk_is_full(error):
            raise
        told = f"{type(error).__name__}: {short(str(error), 200)}"
        if isinstance(error, ImportError):
            raise UserError(f"{url!r} needs a package that is not installed ({told}).") from error
        raise UserError(f"Cannot {to} {url!r} ({told}).") from error
