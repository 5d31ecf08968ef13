"""Advice as text: a table of all answers, the first ones in full, and how to measure the rest."""

import re
import shlex
from collections.abc import Callable, Sequence

import pandas as pd

from ..core import plugins
from ..core.command import command
from ..experiment.grid import Grid
from ..records.comparison import Row, repeat
from ..records.statistics import LEAST_PAIRS
from .advise import Answer, Question, Rival
from .leaderboard import Table, one_line
from .rates import without_budget

MOST_IN_FULL = 3
HIDDEN = re.compile(r"(?:\[(?P<shown>.*)\])? \((?P<hidden>.*)\)$")  # options of a label
WHAT = {  # what the tests say of a row, as the tables call it
    "better": "shown to be better",
    "worse": "shown to be worse",
    "not told apart": "not told apart from it",
    "too few repeats": "too few repeats to tell",
}
NOTE = (
    "Each comparison answers for itself. `±` is half of the 95 % t interval over repeats. Against "
    "the first: points, over the repeats that both have. Two rows differ if the paired tests of "
    "the accuracy tables find it at 5 %, corrected for all pairs of the comparison; others cannot "
    "be told apart, and few repeats tell little apart. The row to take was "
    "chosen by the accuracies shown, which flatters it."
)


def text(
    answers: Sequence[Answer], question: Question, draw: Callable[[Table], str] = Table.text
) -> str:
    """For the terminal; `draw` gives a table as text."""
    parts = [draw(_overview(answers, question))] if len(answers) > 1 else []
    parts += [draw(in_full(answer, question)) for answer in answers[:MOST_IN_FULL]]
    if len(answers) > MOST_IN_FULL:
        parts.append(
            f"The first {MOST_IN_FULL} of {len(answers)} answers are given in full; --ipc, "
            "--student, --recipe, --images and --records choose others.\n"
        )
    return "\n".join([*parts, NOTE])


def in_full(answer: Answer, question: Question) -> Table:
    """One answer: the row to take, those that may be as good, what more bytes buy, what is open."""
    listed: list[tuple[str, Rival | Row]] = []
    if answer.best is not None:
        listed.append(("take", answer.best))
    listed += [(WHAT[r.verdict], r) for r in answer.rivals if r.verdict != "worse"]
    if answer.more is not None:
        known = answer.more.verdict == "better"
        listed.append(("more bytes: better" if known else "more bytes: maybe better", answer.more))
    title = one_line(f"{answer.setting.title}, {_images(answer)}")
    frame = pd.DataFrame([_line(what, of) for what, of in listed])
    if "prior" in frame and set(frame["prior"]) == {"-"}:
        del frame["prior"]
    return Table("advice", title, answer.setting.short, frame, "\n".join(_below(answer, question)))


def _overview(answers: Sequence[Answer], question: Question) -> Table:
    """A line for each answer; what all share stands in the title."""
    facts = [_facts(answer) for answer in answers]
    shared = {name for name in facts[0] if len({each[name] for each in facts}) == 1}
    asked = {"IPC": question.ipc, "images": question.images, "student": question.student}
    asked |= {"recipe": question.recipe}
    lines = []
    for answer, each in zip(answers, facts, strict=True):
        line = {name: value for name, value in each.items() if name not in shared}
        made = _line("", answer.best) if answer.best is not None else {}
        smallest = answer.smallest
        none = "all need a prior" if smallest is None else "nothing fits"
        line["take"] = made.get("method", none)
        line |= {name: made.get(name, "") for name in ("accuracy %", "±", "n", "bytes")}
        alike = len(answer.of("not told apart"))
        line["not told apart"] = f"{alike}" if answer.sure else ""
        more = answer.more
        line["better from"] = "-" if more is None else f"{_total(more.row):,} B"
        lines.append(line)
    same = [
        f"{name} {facts[0][name]}" for name in facts[0] if name in shared and not asked.get(name)
    ]
    title = ", ".join([question.words, f"at most {question.most}", *same])
    return Table("advice", title, "", pd.DataFrame(lines))


def _facts(answer: Answer) -> dict[str, str]:
    """What tells answers apart."""
    at = answer.setting
    return {
        "IPC": str(at.ipc),
        "images": one_line(answer.images) + (" (real)" if _real(answer) else ""),
        "student": one_line(at.student),
        "recipe": one_line(at.recipe),
        "teacher": one_line(f"{at.teacher} ({at.teacher_accuracy:.2%})"),
        "world": one_line(f"{at.place}, {at.precision}"),
    }


def _line(what: str, of: Rival | Row) -> dict[str, str]:
    row = of.row if isinstance(of, Rival) else of
    mean, half = row.accuracy
    gap = "-"
    if isinstance(of, Rival) and of.pair.difference is not None:
        gap = f"{100 * of.pair.difference:+.2f}"
        gap += "" if of.pair.half is None else f" ± {100 * of.pair.half:.2f}"
    return {
        "advice": what,
        "method": one_line(row.method),
        "accuracy %": f"{100 * mean:.2f}",
        "±": "n too small" if half is None else f"{100 * half:.2f}",
        "n": f"{row.n}/{row.asked}" if row.asked > row.n else f"{row.n}",
        "bytes": f"{_total(row):,}",
        "prior": f"{one_line(row.prior)} ({row.storage['prior']:,} B)" if row.prior else "-",
        "against the first": gap,
    }


def _below(answer: Answer, question: Question) -> list[str]:
    """What the table does not hold."""
    lines = []
    if answer.best is None:
        least = answer.smallest
        lines.append(
            "All that was measured here needs a prior."
            if least is None
            else f"Nothing that was measured here fits in {answer.budget:,} B; "
            f"the smallest is {_sized(least)}."
        )
    else:
        lines.append(repeats_of(answer.best))
        alike = min(answer.of("not told apart"), key=_total, default=answer.best)
        if _total(alike) < _total(answer.best):
            lines.append(f"Fewest bytes of what is not told apart: {_sized(alike)}.")
    if worse := answer.of("worse"):
        lines.append(f"Shown to be worse within the bytes: {_names(worse)}.")
    if answer.too_large:
        sized = ", ".join(map(_sized, answer.too_large))
        lines.append(f"Measured at more than {answer.budget:,} B only: {sized}.")
    if answer.needs_prior:
        lines.append(f"Ruled out, since a prior is needed: {', '.join(answer.needs_prior)}.")
    files = {name: option for name in answer.unmeasured if (option := required_option(name))}
    if answer.unmeasured:
        named = [f"{m} (needs {m}.{files[m]})" if m in files else m for m in answer.unmeasured]
        lines.append(f"Never measured here: {', '.join(named)}.")
    open_ = [_asked_as(row.method) for row in answer.too_large if not row.control]
    if open_ := [*open_, *(name for name in answer.unmeasured if name not in files)]:
        lines.append(
            "To measure within the bytes what was not (a run names what cannot meet them):"
        )
        lines.append(_command(answer, question, open_))
    return lines


def repeats_of(best: Row) -> str:
    """What was varied between the repeats of the row to take."""
    kinds = [len(set(numbers)) for numbers in zip(*map(repeat, best.records), strict=True)]
    draws, seeds = (
        f"{number} {name}{'s' if number > 1 else ''}"
        for number, name in zip(kinds, ("draw", "seed"), strict=True)
    )
    few = "" if best.n >= LEAST_PAIRS else ", too few to say how sure that is"
    return f"Its repeats: {draws} of the images, {seeds} of the student{few}."


def _total(row: Row) -> int:
    return row.storage["total"]


def _names(rows: Sequence[Row]) -> str:
    return ", ".join(one_line(row.method) for row in rows)


def _sized(row: Row) -> str:
    return f"{one_line(row.method)} ({_total(row):,} B)"


def _images(answer: Answer) -> str:
    return f"{answer.images} images" + (" (real ones)" if _real(answer) else "")


def _real(answer: Answer) -> bool:
    return any(row.baseline for row in answer.rows)


def required_option(method: str) -> str:
    """The option without which a method cannot be measured, if there is one."""
    return plugins.found(plugins.METHODS)[method].literal("required", "")


def _command(answer: Answer, question: Question, methods: Sequence[str]) -> str:
    """What measures methods within the bytes, with the best one, where a comparison holds both."""
    at, best = answer.setting, answer.best
    records = [record for row in answer.rows for record in row.records]
    draws = {record["cell"]["images"]: repeat(record) for record in records}
    held = answer.rows[0].records[0]
    beside = [] if best is None or best.control else [_asked_as(best.method)]
    own = plugins.found(plugins.METHODS).keys() - {"teacher"}  # `teacher.X` is its training
    asked = {
        "dataset": at.dataset,
        "images": sorted(draws, key=lambda images: (draws[images], images)),
        "ipc": [at.ipc],
        "methods": [*beside, *methods],
        "students": [at.student],
        "recipe": at.recipe,
        "teacher": at.teacher,
        "seeds": 1 + max(record["cell"]["seed"] for record in records),
        "budgets": ["".join(question.budget.split())],
        "accept": held["inputs"].get("accepted", []),
        "set": {
            name: value
            for name, value in held["inputs"].get("set", {}).items()
            if name.partition(".")[0] not in own
        },
    }
    lines = command("python -m benchmark run", Grid, asked)
    world = {"precision": at.precision, "device": held["world"]["device"]}
    lines += [f"--{name} {shlex.quote(value)}" for name, value in world.items()]
    return "  " + " \\\n    ".join(lines)


def _asked_as(method: str) -> str:
    """A label as a grid takes it: no budget, and hidden options in the brackets."""
    name = without_budget(method)
    match = HIDDEN.search(name)
    if match is None:
        return name
    options = [*filter(None, [match["shown"]]), *match["hidden"].split(", ")]
    return f"{name[: match.start()]}[{','.join(options)}]"
