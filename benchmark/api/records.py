"""What is asked of records: which method beats which, which one to take, what is given away."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import UserError
from .results import read

if TYPE_CHECKING:
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


def compare(first: str, second: str, records: Places = ()) -> "list[Pair]":
    """The first method against the second, in every comparison that holds both.

    Args:
        first, second: methods as tables call them, or IMAGES/METHOD.
        records: files and folders; `results` if none.

    Returns:
        Each with its `verdict`, difference, interval and p, corrected for all of them.

    Raises:
        UserError: a name that no row has, or no comparison with both.
    """
    from ..records.comparison import comparisons
    from ..report.compare import pairs_of

    return pairs_of(comparisons(read(_paths(records))), first, second)


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
        records: files and folders; `results` if none.

    Raises:
        UserError: nothing was measured of what is asked, or nothing fits.
    """
    from ..records.comparison import comparisons
    from ..report.advise import Question
    from ..report.advise import advise as answers

    asked = Question(dataset, str(bytes), without_prior, ipc, student, recipe, images)
    return Advice(asked, answers(comparisons(read(_paths(records))), asked))


def ship(
    record: str | Path | Mapping[str, Any], to: str | Path, work: str | Path = "runs"
) -> tuple[Path, Path]:
    """Copy a record's labels and images into a new folder, which can be given away.

    Args:
        record: a record of the work folder, or its file.

    Returns:
        The folders of labels and of images, as `open_labels` takes them.

    Raises:
        UserError: `to` exists, or the work folder does not hold what the record was measured with.
    """
    from ..exchange.shipping import ship as copy
    from ..experiment.run_cell import RECORDS
    from ..records import store

    target, stages = Path(to), Path(work)
    if isinstance(record, Mapping):
        given: Any = record
        file = store.path_of(stages / RECORDS, *store.identity(given))
        if not file.is_file():
            raise UserError(f"{str(stages)!r} does not hold the record {file.name!r}.")
    else:
        file = Path(record)
    copy(file, target, stages)
    return target / "labels", target / "images"


def _paths(records: Places) -> list[Path]:
    given = [records] if isinstance(records, str | Path) else records
    return [Path(path) for path in given]
