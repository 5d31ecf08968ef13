"""`register`: a class of a notebook or script becomes a method."""

import atexit
import hashlib
import inspect
import re
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from ..core import plugins
from ..core.errors import UserError
from .source import module_of

Method = TypeVar("Method", bound=type[Any])
WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")  # where one begins


def register(cls: Method) -> Method:
    """Make a subclass of `LabelSource` a method of this process; also as a decorator.

    It is called by its class's name in small letters, `LowRank` as `low_rank`, by `run` and all
    else that takes methods. Its source decides what is measured anew: with the functions, classes
    and constants of its session that it uses, it is written into a file, which is then a plugin
    like any other (`--plugin`), for all jobs. A class that was changed and registered again takes
    the place of the former one.

    Raises:
        UserError: it is no method, its source cannot be had, it uses what no source tells (a
            tensor, a network), or the name is another's.
    """
    from ..labels.contract import LabelSource

    found: Any = cls
    if not (inspect.isclass(found) and issubclass(found, LabelSource)):
        raise UserError(f"register takes a class derived from benchmark.LabelSource, got {cls!r}.")
    if inspect.isabstract(found):
        lacking = ", ".join(sorted(found.__abstractmethods__))
        raise UserError(f"{cls.__name__} does not define {lacking}.")
    if cls.__name__.startswith("_"):
        raise UserError(f"{cls.__name__}: a method's name does not begin with an underscore.")
    text = module_of(cls, register, LabelSource)
    cls.name = WORD.sub("_", cls.__name__).lower()
    digest = hashlib.sha256(text.encode()).hexdigest()
    file = _folder() / digest[:16] / f"{cls.name}.py"
    file.parent.mkdir(exist_ok=True)
    file.write_text(text, encoding="utf-8")
    plugin = plugins.found(plugins.METHODS).get(cls.name)
    former = plugin and plugin.where
    if former is None or _folder() not in former.parents:
        plugins.add(file)
    elif former != file:
        plugins.drop(former)
        try:
            plugins.add(file)
        except UserError:
            plugins.add(former)
            raise
    return cls


@cache
def _folder() -> Path:
    """Where the files of this process's methods lie, as long as it lives."""
    folder = Path(tempfile.mkdtemp(prefix="labelbench-")).resolve()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
