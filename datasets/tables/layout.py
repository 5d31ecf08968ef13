"""Which files of a folder are its splits: the layouts that Hugging Face's tools write.

Parquet files are `train-*.parquet`, `train.parquet` or `train/*.parquet`, in the folder itself,
in `data/` or in the folder of a configuration. `save_to_disk` writes `dataset_dict.json` beside
`train/data-*.arrow`. A held-out split is called `test`, `validation`, `valid`, `val` or `dev`.
"""

import re
from collections import Counter
from pathlib import Path
from typing import NotRequired

from pydantic import TypeAdapter
from typing_extensions import TypedDict

from benchmark.core import bounded
from benchmark.core.bounded import shown
from benchmark.core.errors import UserError

TEST = ("test",)
VALIDATION = ("validation", "valid", "val", "dev")
SPLITS = ("train", *TEST, *VALIDATION)
SHARD = re.compile(r"(?P<stem>.*?)-?(?P<number>\d+)-of-(?P<total>\d+)(-[0-9a-f]+)?")
NUMBERED = re.compile(r"(.*?)-?(\d{1,9})")
SHOWN = 5  # missing shards that are named
MOST_BYTES = 2**20  # of a list of tables


class _File(TypedDict):
    filename: str


class _State(TypedDict):
    """What `save_to_disk` writes of a split, as far as it is read here."""

    _data_files: list[_File]
    _indices_data_files: NotRequired[list[_File] | None]
    _indices_files: NotRequired[list[_File] | None]


STATE = TypeAdapter(_State)


def splits_of(folder: Path) -> dict[str, list[Path]]:
    """The tables of each split that is there, by the split's name, in file order.

    Raises:
        UserError: there is no training split, there are several configurations, or shards are
            missing.
    """
    bases = _bases(folder)
    if not bases:
        raise UserError(
            f"{str(folder)!r} holds no train-*.parquet files, nor train.parquet, train/*.parquet, "
            "these in data/ or in one other folder, or train/data-*.arrow of save_to_disk."
        )
    if len(bases) > 1:
        told = ", ".join(repr(base.relative_to(folder).as_posix()) for base in bases[:SHOWN])
        raise UserError(
            f"{str(folder)!r} holds {len(bases)} sets of training tables, in {told}: name the "
            "folder of one."
        )
    found = {split: _tables(bases[0], split) for split in SPLITS}
    splits = {split: files for split, files in found.items() if files}
    for split, files in splits.items():
        _check_shards(files, split)
    return splits


def holds_tables(folder: Path) -> bool:
    """Whether there are training tables anywhere that `splits_of` looks."""
    return folder.is_dir() and bool(_bases(folder))


def held_out(splits: dict[str, list[Path]], names: tuple[str, ...]) -> str | None:
    """Which of the splits called so is there.

    Raises:
        UserError: there are several.
    """
    found = [name for name in names if name in splits]
    if len(found) > 1:
        where = str(splits[found[0]][0].parent)
        raise UserError(
            f"{where!r} holds several validation splits, {' and '.join(found)}: keep one."
        )
    return found[0] if found else None


def _bases(folder: Path) -> list[Path]:
    """The folders in which training tables are: this one, `data/`, or those of configurations."""
    inner = [path for path in folder.iterdir() if path.is_dir() and path.name[0] != "."]
    candidates = [folder, *sorted(path for path in inner if path.name not in SPLITS)]
    return [base for base in candidates if _tables(base, "train")]


def _tables(base: Path, split: str) -> list[Path]:
    """The tables of one split in a folder.

    Raises:
        UserError: it is there in two layouts.
    """
    inner = base / split
    ways = [
        [*base.glob(f"{split}-*.parquet")],
        [base / f"{split}.parquet"] if (base / f"{split}.parquet").exists() else [],
        [path for path in inner.glob("*.parquet") if path.name[0] != "."],
        _saved(inner) if (base / "dataset_dict.json").is_file() else [],
    ]
    found = [sorted(files) for files in ways if files]
    if len(found) > 1:
        told = " and ".join(repr(files[0].relative_to(base).as_posix()) for files in found)
        raise UserError(f"{str(base)!r} holds its {split} split twice, in {told}: keep one.")
    return found[0] if found else []


def _saved(folder: Path) -> list[Path]:
    """The tables of a split that `save_to_disk` wrote, as its `state.json` lists them.

    Raises:
        UserError: one is missing, or only some of their rows are meant.
    """
    state = folder / "state.json"
    if not state.is_file():
        return [*folder.glob("data-*.arrow")]
    try:
        told = bounded.parse(STATE, bounded.loads(bounded.read(state, MOST_BYTES)))
    except UserError as error:
        raise UserError(f"Cannot read {str(state)!r}: {error}.") from error
    if told.get("_indices_data_files") or told.get("_indices_files"):
        raise UserError(
            f"{str(folder)!r} holds rows that were chosen or shuffled, by an older `datasets`: "
            "save `flatten_indices()` of it."
        )
    names = [file["filename"] for file in told["_data_files"]]
    if lost := [name for name in names if "/" in name or not (folder / name).is_file()]:
        raise UserError(f"{str(folder)!r} lacks {shown(lost[0])}, which its state.json names.")
    return [folder / name for name in names]


def _check_shards(files: list[Path], split: str) -> None:
    """Raise a UserError unless these are all the parts of one table, each once."""
    where = str(files[0].parent)
    shards = [SHARD.fullmatch(file.stem) for file in files]
    if any(shards):
        matched = [shard for shard in shards if shard]
        totals = sorted({int(shard["total"]) for shard in matched})
        if len(matched) < len(files):
            other = next(f.name for f, shard in zip(files, shards, strict=True) if not shard)
            raise UserError(
                f"The {split} split in {where!r} has {other!r} beside numbered shards such as "
                f"'{matched[0].string}{files[0].suffix}': keep one of them."
            )
        if len(totals) > 1:
            raise UserError(
                f"The {split} split in {where!r} has shards of {totals[0]} and of {totals[1]}: "
                "keep those of one."
            )
        numbers, first, last = [int(s["number"]) for s in matched], 0, totals[0] - 1
    else:
        plain = [match for file in files if (match := NUMBERED.fullmatch(file.stem))]
        if len(plain) < len(files) or len({match[1] for match in plain}) > 1:
            return
        numbers = [int(match[2]) for match in plain]
        first, last = min(numbers), max(numbers)
    _check_numbers(numbers, first, last, f"The {split} split in {where!r}")


def _check_numbers(numbers: list[int], first: int, last: int, what: str) -> None:
    times = Counter(numbers)
    if twice := [n for n in numbers if times[n] > 1]:
        raise UserError(f"{what} has shard {twice[0]} twice: keep one.")
    if wrong := [n for n in numbers if n > last]:
        raise UserError(f"{what} has shard {wrong[0]}, but counts {last + 1}.")
    if len(numbers) < last - first + 1:
        missing = (n for n in range(first, last + 1) if n not in times)
        told = ", ".join(str(n) for n, _ in zip(missing, range(SHOWN), strict=False))
        more = last - first + 1 - len(numbers)
        raise UserError(f"{what} lacks {more} of its shards, number {told}: fetch all of them.")
