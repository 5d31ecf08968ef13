"""Records as a dataset repository of the Hub: a file of lines for each push, none ever changed."""

import hashlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from ..core import remote
from ..core.errors import UserError
from ..core.hub import CARD, Repository, is_named
from ..core.hub_errors import Changed
from .collection import lines, merged

FOLDER = "data"
FILES = "*.jsonl"
TRIES = 3  # where others push at the same time
CARD_OF_RECORDS = """---
pretty_name: Records of labelbench
tags:
- labelbench
configs:
- config_name: default
  data_files: data/records-*.jsonl
---

# Records of labelbench

What students reached on compressed soft labels of distilled datasets: one measurement a line, with
the bytes of its labels, the time they cost, and the world it was measured in.

```
python -m benchmark leaderboard hf:{name}
python -m benchmark collect runs/records --push {name}
```
"""


def push(paths: Iterable[Path], repository: Repository, private: bool = False) -> tuple[int, int]:
    """Add records to a repository, in one commit; those that it holds are passed over.

    Returns:
        How many records were added, and how many it holds now.

    Raises:
        UserError: a record is damaged on either side, or differs from the one of its key and world
            there, or the Hub refuses it or cannot be reached; then nothing was committed.
    """
    paths = [*paths]
    merged([], paths)  # before anything is made far away
    for _ in range(TRIES - 1):
        with suppress(Changed):
            return _pushed(paths, repository, private)
    return _pushed(paths, repository, private)


def _pushed(paths: list[Path], repository: Repository, private: bool) -> tuple[int, int]:
    held = repository.look_to_push() or repository.create(private)
    names = [name for name in held.files if name.endswith(".jsonl")]
    here = repository.at(held.commit).fetch([FILES]) if names else Path()
    before, added = merged([here / name for name in names], paths)
    if not added:
        return 0, len(before)
    text = lines(added)
    name = f"records-{hashlib.sha256(text).hexdigest()[:16]}.jsonl"
    files: dict[str, Path | bytes] = {f"{FOLDER}/{name}": text}
    if CARD not in held.files:
        files[CARD] = CARD_OF_RECORDS.format(name=repository.name).encode()
    repository.commit(files, f"{len(added)} records", held.commit)
    return len(added), len(before) + len(added)


def is_of_records(name: str) -> bool:
    """Whether a file of a folder may hold records, by its path there; stages hold none."""
    *folders, file = name.split("/")
    beside = not folders and file.endswith((".json", ".jsonl"))
    return beside or (folders[-1:] == ["records"] and file.endswith(".json"))


def on_this_machine(place: str) -> Path:
    """Records by their path, their URL, or their repository on the Hub, as a path here.

    A copy of what is behind a URL lasts as long as this process.

    Args:
        place: a path, a URL (of the web a folder's ends in a slash), or `hf:OWNER/NAME[@REVISION]`.

    Raises:
        UserError: there are none far away.
    """
    if is_named(place):
        found = Repository.parse(place, "dataset").fetch([FILES])
        if not (found / FOLDER).is_dir():
            raise UserError(f"{place!r} holds no records: there is no {FOLDER}/{FILES} in it.")
        return found / FOLDER
    if remote.is_url(place):
        copy = remote.scratch() / remote.name_of(place)
        remote.fetch(place, copy, only=is_of_records)
        return copy
    return Path(place)
