"""What is asked of records: which method beats which, which one to take, what is given away."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.arguments import typed
from ..core.errors import UserError
from .results import read

if TYPE_CHECKING:
    from ..core.hub import Repository
    from ..core.remote_work import RemoteWork
    from ..report.advise import Answer, Question
    from ..report.compare import Pair

Places = str | Path | Sequence[str | Path]


@dataclass(frozen=True)
class Advice:
    """Which method to take within so many bytes, how sure that is, and what is not known.

    Attributes:
        question: what was asked.
        answers: of each comparison and image source that was asked for, the surest first; the
            row to take is `answers[0].best`.
    """

    question: "Question"
    answers: "list[Answer]"

    def text(self) -> str:
        """For the terminal."""
        from ..report.advice_text import text

        return text(self.answers, self.question)

    def __str__(self) -> str:
        return self.text()


@typed
def compare(first: str, second: str, records: Places = ()) -> "list[Pair]":
    """The first method against the second, in every comparison that holds both.

    Args:
        first, second: methods as tables call them, or IMAGES/METHOD.
        records: files, folders, URLs, `hf:OWNER/NAME`; `results` if none.

    Returns:
        Each with its `verdict`, difference, interval and p, corrected for all of them.

    Raises:
        UserError: a name that no row has, or no comparison with both.
    """
    from ..records.comparison import comparisons
    from ..report.compare import pairs_of

    return pairs_of(comparisons(read(_paths(records))), first, second)


@typed
def advise(
    dataset: str,
    bytes: int | str,
    ipc: int | None = None,
    student: str = "",
    recipe: str = "",
    images: str = "",
    without_prior: bool = False,
    records: Places = (),
) -> Advice:
    """Say which method is best within so many bytes, from records.

    Args:
        dataset, ipc, student, recipe, images: what the answer must be for; any if left out.
        bytes: most that labels may take: 4096, "10kB", "2KiB", or "40x" of the full labels.
        without_prior: whether a public model must not be needed.
        records: files, folders, URLs, `hf:OWNER/NAME`; `results` if none.

    Raises:
        UserError: nothing was measured of what is asked, or nothing fits.
    """
    from ..records.comparison import comparisons
    from ..report.advise import Question
    from ..report.advise import advise as answers

    asked = Question(dataset, str(bytes), without_prior, ipc, student, recipe, images)
    return Advice(asked, answers(comparisons(read(_paths(records))), asked))


@typed
def ship(
    record: str | Path | Mapping[str, Any],
    to: str | Path | None = None,
    work: str | Path | None = None,
    license: str = "unknown",
    push: str = "",
    private: bool = False,
) -> list[str]:
    """Copy a record's labels and images, with a card, to where others can have them.

    Args:
        record: a record of the work folder, or its file (a URL too, where `work` is one).
        to: a new folder, or a URL of one; `open_labels` takes either.
        work: the folder of stages, or a URL of one; None is the one that the record's file lies in,
            or else `runs`.
        license: as the Hub names it.
        push: OWNER/NAME[:CONFIG], a dataset repository of the Hub, made if it is not there.
        private: whether a repository that is made is for you alone to see.

    Returns:
        What was done, in a sentence each.

    Raises:
        UserError: `to` exists, neither `to` nor `push` is given, or the work folder does not hold
            what the record was measured with.
    """
    from ..core import remote
    from ..core.remote_work import RemoteWork
    from ..exchange import hub
    from ..exchange.shipping import ship as copy
    from ..experiment.run_cell import RECORDS

    if to is None and not push:
        raise UserError("ship takes a new folder, --push OWNER/NAME, or both.")
    place = None if to is None else str(to)
    repository = repository_of(push, private, place)
    far = place is None or remote.is_url(place)
    folder = remote.scratch() / "shipped" if place is None or far else Path(place)
    work = _work_of(record) if work is None else work
    kept = RemoteWork.at(work)
    if kept:
        kept.open(RECORDS, write=False)
    at = kept.folder if kept else Path(work)
    file = _file(record, at, str(work))
    if kept:
        _fetch_stages(file, kept)
    copy(file, folder, at, license)
    done = []
    if place is not None:
        if far:
            remote.put_folder(folder, place)
        to = remote.shown(place).rstrip("/")
        done.append(f"wrote {to}/labels and {to}/images, and their card, {to}/README.md")
    if repository is not None:
        done.append(hub.push(folder, repository, private))
    return done


def repository_of(push: str, private: bool, to: str | None) -> "Repository | None":
    """The repository of the Hub to push to, if one is named.

    Raises:
        UserError: it is no name of one, is named where a folder should be, or there is no token;
            so nothing is written before that is known.
    """
    from ..core.hub import Repository, is_named

    if to is not None and is_named(to):
        raise UserError(f"To a repository of the Hub goes --push, not {to!r}.")
    if private and not push:
        raise UserError("--private is of a repository: name one with --push OWNER/NAME.")
    if not push:
        return None
    found = Repository.parse(push, "dataset")
    replace(found, file="").check_push()
    return found


def _work_of(record: str | Path | Mapping[str, Any]) -> str:
    """The work folder that a record's file lies in, here or at a URL; `runs` where in none."""
    from ..experiment.run_cell import RECORDS

    if isinstance(record, Mapping):
        return "runs"
    found = re.fullmatch(rf"(?:(.*)/)?{RECORDS}/[^/]+", str(record).replace(os.sep, "/"))
    return (found[1] or ".") if found else "runs"


def _file(record: str | Path | Mapping[str, Any], work: Path, place: str) -> Path:
    """The file of a record in a work folder; `place` is how the user names that."""
    from ..core import remote
    from ..experiment.run_cell import RECORDS
    from ..records import store

    if not isinstance(record, Mapping):
        if str(record).startswith(f"{place.rstrip('/')}/{RECORDS}/") and remote.is_url(place):
            return work / RECORDS / remote.name_of(str(record))
        return Path(record)
    given: Any = record
    file = store.path_of(work / RECORDS, *store.identity(given))
    if not file.is_file():
        raise UserError(f"{remote.shown(place)!r} does not hold the record {file.name!r}.")
    return file


def _fetch_stages(file: Path, work: "RemoteWork") -> None:
    """Have the stages here that a record was measured with."""
    from ..records import store

    for record in store.read([file]):
        for name in (record["inputs"]["labels"], record["inputs"].get("images_stage", "")):
            if name:
                work.fetch_stage(name)


def _paths(records: Places) -> list[Path]:
    from ..records.hub import on_this_machine

    given = [records] if isinstance(records, str | Path) else records
    return [on_this_machine(str(place)) for place in given]
