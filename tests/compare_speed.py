"""How much faster a commit is than another one: `python tests/compare_speed.py BEFORE AFTER`.

Both are checked out into temporary worktrees, and AFTER's micro-benchmarks (`test_speed*.py`) run
on each in turn, a process a round; what runs on one of them alone is left out. Or, after `--`, a
command does, each time in an empty folder: `python tests/compare_speed.py main HEAD -- run
--methods hello,lpqld`; with `--before-words` and `--after-words` two settings of one command are
compared, on one commit given twice. `-k A --against B` sets two micro-benchmarks of AFTER side by
side. Prints the seconds of AFTER over those of BEFORE, and records them. Needs a checkout and the
test dependencies; nothing is installed.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmark.records.record import Environment

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ("methods", "datasets")  # that are subpackages of `benchmark`
# As without the plugins and the strictness of an installed environment.
PLAIN = ("--noconftest", "-o", "addopts=", "-o", "filterwarnings=default", "-p", "no:cacheprovider")
SOME_FAILED = 1  # pytest's exit code
Seconds = dict[str, float]  # by what was timed


class Refused(Exception):
    """What the user can mend, in a sentence."""


@dataclass(frozen=True)
class Tree:
    """A commit's worktree, and the folder that has it as a package.

    Attributes:
        commit: its hash, 12 digits.
    """

    place: Path
    package: Path
    version: str
    commit: str

    @property
    def environment(self) -> "Environment":
        return {"labelbench": self.version, "commit": self.commit}


def version_of(tree: Path) -> str:
    """The version that a checkout has."""
    project = tomllib.loads((tree / "pyproject.toml").read_text(encoding="utf-8"))
    return project["project"]["version"]


def link(tree: Path, folder: Path) -> Path:
    """Make `folder` a place to import a checkout's package from, as an installation would."""
    package = folder / "benchmark"
    package.mkdir(parents=True)
    inside = [*(tree / "benchmark").iterdir(), *(tree / name for name in PACKAGE)]
    for path in inside:
        if path.name != "__pycache__":
            (package / path.name).symlink_to(path)
    version = version_of(tree)
    told = folder / f"labelbench-{version}.dist-info"
    told.mkdir()
    metadata = f"Metadata-Version: 2.1\nName: labelbench\nVersion: {version}\n"
    (told / "METADATA").write_text(metadata, encoding="utf-8")
    return folder


def git(root: Path, *words: str) -> str:
    """What git answers."""
    done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True)
    if done.returncode:
        raise Refused(f"git {words[0]} says: {done.stderr.strip().splitlines()[-1]}")
    return done.stdout.strip()


@contextmanager
def checked_out(root: Path, commit: str, folder: Path) -> Iterator[Tree]:
    """A commit in a worktree of its own, which goes in the end."""
    place = folder / "tree"
    known = git(root, "rev-parse", "--verify", "--end-of-options", f"{commit}^{{commit}}")
    git(root, "worktree", "add", "--detach", str(place), known)
    try:
        yield Tree(place, link(place, folder / "package"), version_of(place), known[:12])
    finally:
        git(root, "worktree", "remove", "--force", str(place))


def python(
    tree: Tree, words: Sequence[str], folder: Path, threads: int, good: Sequence[int] = (0,)
) -> None:
    """Run Python on a commit's package, in `folder`.

    Args:
        good: exit codes that are no failure.
    """
    # Not the folder one stands in, where `benchmark` may lack its subpackages.
    place = os.pathsep.join(filter(None, [str(tree.package), os.environ.get("PYTHONPATH")]))
    # What workers of a test run are told would switch benchmarks off.
    told = {name: value for name, value in os.environ.items() if "PYTEST" not in name}
    environment = {**told, "PYTHONPATH": place, "PYTHONSAFEPATH": "1"}
    environment |= {"OMP_NUM_THREADS": str(threads), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode not in good:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise Refused(f"On {tree.commit} it ended with code {done.returncode}: {' '.join(said)}")


def timed(tree: Tree, after: Tree, asked: argparse.Namespace, command: Sequence[str]) -> Seconds:
    """One round on one commit: of a command the whole process, of benchmarks their least time."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        if command:
            own = asked.after_words if tree is after else asked.before_words
            started = time.perf_counter()
            python(tree, ["-m", "benchmark", *command, *shlex.split(own)], folder, asked.threads)
            return {asked.name or " ".join(command): time.perf_counter() - started}
        tests = sorted(map(str, (after.place / "tests").glob("test_speed*.py")))
        only = f"{asked.k} or {asked.against}" if asked.against else asked.k
        told, chosen = folder / "told.json", ["-k", only] if only else []
        only = ["--benchmark-only", f"--benchmark-json={told}"]
        words = ["-m", "pytest", *tests, "-q", *PLAIN, *only, *chosen]
        python(tree, words, folder, asked.threads, good=(0, SOME_FAILED))
        found = json.loads(told.read_text(encoding="utf-8"))["benchmarks"]
    return {one["name"]: one["stats"]["min"] for one in found if one["stats"]["rounds"]}


def compare(
    before: Tree, after: Tree, asked: argparse.Namespace, command: Sequence[str]
) -> dict[str, tuple[list[float], list[float]]]:
    """The seconds of every round of what was timed: before's, and after's."""
    if asked.against:
        return beside(after, asked)
    found: dict[str, tuple[list[float], list[float]]] = {}
    for number in range(asked.rounds):
        # Who begins, alternates: so neither has all of a machine that slows down, or warms up.
        pair = (before, after) if number % 2 == 0 else (after, before)
        seconds = {tree.package: timed(tree, after, asked, command) for tree in pair}
        old, new = seconds[before.package], seconds[after.package]
        for name in sorted(old.keys() ^ new.keys()) if number == 0 else ():
            print(f"left out, as it runs on one of them alone: {name}", file=sys.stderr)
        for name in filter(new.__contains__, old):
            olds, news = found.setdefault(name, ([], []))
            olds.append(old[name])
            news.append(new[name])
        print(f"round {number + 1} of {asked.rounds} done", file=sys.stderr, flush=True)
    if not found:
        raise Refused("No micro-benchmark runs on both commits.")
    return found


def beside(tree: Tree, asked: argparse.Namespace) -> dict[str, tuple[list[float], list[float]]]:
    """The seconds of every round of two micro-benchmarks of a commit: against what, and what."""
    rounds = [timed(tree, tree, asked, ()) for _ in range(asked.rounds)]
    for name in (asked.k, asked.against):
        if name not in rounds[0]:
            raise Refused(f"{name!r} is no micro-benchmark here. Valid: {', '.join(rounds[0])}.")
    name = asked.name or f"{asked.k} against {asked.against}"
    return {name: ([one[asked.against] for one in rounds], [one[asked.k] for one in rounds])}


def record(
    before: Tree, after: Tree, asked: argparse.Namespace, command: Sequence[str], to: Path
) -> None:
    """Time both commits, print the ratios, and write them."""
    import torch

    from benchmark.core.device import choose
    from benchmark.records import measurements, speed
    from benchmark.records.environment import world
    from benchmark.report.speed_tables import tables

    torch.set_num_threads(asked.threads)
    device = command[command.index("--device") + 1] if "--device" in command else "auto"
    where = world(choose(device if command else "cpu", "fp32"))
    settings = {"threads": str(asked.threads), "command": " ".join(command) or "pytest-benchmark"}
    own = {"before": asked.before_words, "after": asked.after_words}
    if asked.against:
        before, own = after, {"before": asked.against, "after": asked.k}
    settings |= {side: words for side, words in own.items() if words}
    made: list[speed.RatioRecord] = [
        {
            "schema": speed.SCHEMA,
            "kind": "ratio",
            "name": name,
            "first": {"what": "after", "seconds": new, "environment": after.environment},
            "second": {"what": "before", "seconds": old, "environment": before.environment},
            "settings": settings,
            "world": where,
        }
        for name, (old, new) in compare(before, after, asked, command).items()
    ]
    for one in made:
        measurements.replace(to, one)
    for table in tables(made):
        print(table.text())
    print(f"records: {to}", file=sys.stderr)


def main(words: Sequence[str], root: Path = ROOT) -> int:
    """Compare as asked; returns the exit code."""
    at = words.index("--") if "--" in words else len(words)
    command = words[at + 1 :]
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("before", help="a commit")
    parser.add_argument("after", help="another one")
    parser.add_argument("-k", help="only the micro-benchmarks of this expression, as pytest's")
    parser.add_argument("--against", help="another one, beside which AFTER's one of -k is set")
    parser.add_argument("--rounds", type=int, default=5, help="processes a commit (5)")
    parser.add_argument("--threads", type=int, default=1, help="of each process (1)")
    parser.add_argument("--name", help="what the command is called in the record")
    for side in ("before", "after"):
        told = f"of the command on {side.upper()} alone, as one text"
        parser.add_argument(f"--{side}-words", default="", help=told)
    parser.add_argument("--to", type=Path, default=Path("runs", "profile.jsonl"), help="records")
    asked = parser.parse_args(words[:at])
    try:
        for name in ("rounds", "threads"):
            if getattr(asked, name) < 1:
                raise Refused(f"--{name} is {getattr(asked, name)}; at least 1 is valid.")
        if asked.against and (command or not asked.k):
            raise Refused("--against sets two micro-benchmarks side by side: name one with -k.")
        if asked.to.name not in ("profile.jsonl", "speed.jsonl"):
            raise Refused(f"--to takes a profile.jsonl or speed.jsonl, not {str(asked.to)!r}.")
        with tempfile.TemporaryDirectory() as made:
            old, new = Path(made, "before"), Path(made, "after")
            with (
                checked_out(root, asked.before, old) as before,
                checked_out(root, asked.after, new) as after,
            ):
                record(before, after, asked, command, asked.to.resolve())
    except Refused as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as own:
        sys.path.insert(0, str(link(ROOT, Path(own))))
        code = main(sys.argv[1:])
    sys.exit(code)
