"""Fuzz every reader of what strangers write; run by hand, for as long as you like:

    python tests/fuzz_readers.py [--minutes 60] [--reader NAME] [--seed 0] [--guided]

A reader may take an input, or refuse it with a UserError of one line. Whatever else happens is a
finding: another exception, a message of several lines, more than `SLOW` seconds, or memory that
grows by more than `FLOOD`. Findings are printed once for each place in the code, and their inputs
are written to a folder, which is named. Inputs are whole ones that are changed at random, in their
bytes and, of JSON, in their values; with `--guided`, which takes atheris and one reader, they
follow the coverage of `benchmark`. `test_fuzzed.py` holds what was found.
"""

import argparse
import copy
import importlib
import json
import os
import random
import resource
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from contextlib import nullcontext, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
for folder in ("", "records", "exchange", "report"):
    sys.path.insert(0, str(HERE / folder))
warnings.simplefilter("ignore")

GUIDED = "--guided" in sys.argv  # before anything is imported that it is to follow
atheris: Any = importlib.import_module("atheris") if GUIDED else None
with atheris.instrument_imports(include=["benchmark"]) if GUIDED else nullcontext():
    import fuzz_inputs

from benchmark.core.errors import UserError  # noqa: E402 (after the instrumented imports)

SLOW, FLOOD = 20.0, 500 * 2**20  # seconds, and bytes, of one input
TURN = 20.0  # seconds of the processor for a reader, before the next has its turn
LONGEST = 2000  # characters of a message
ODD: list[Any] = [None, True, 0, -1, 1, 2**31, 2**63, 10**40, 0.5, -0.0, 1e308, 5e-324, ""]
ODD += ["x" * 99, "../../x", "\x00", "\ud800", "nan", "a[b=c]"]
ODD += [[], {}, [[]], {"": ""}, [0.5] * 60, {"a": {}}]


def mutated(raw: bytes, rng: random.Random) -> bytes:
    """Bytes changed in a few places; of JSON, its values too."""
    if raw[:1] in (b"{", b"[") and rng.random() < 0.6:
        try:
            return json.dumps(_other(json.loads(raw), rng)).encode(errors="surrogatepass")
        except (ValueError, RecursionError):
            pass
    made = bytearray(raw)
    for _ in range(rng.randint(1, 4)):
        at, piece = rng.randint(0, max(0, len(made) - 1)), rng.randint(1, 40)
        kind = rng.choice(("flip", "flip", "word", "cut", "drop", "twice"))
        if kind == "flip" and made:
            made[at] ^= rng.randint(1, 255)
        elif kind == "word":
            word = rng.choice((0, 1, 2**31 - 1, 2**32 - 1, 2**63, rng.getrandbits(64)))
            made[at : at + 8] = word.to_bytes(8, rng.choice(("little", "big")))
        elif kind == "cut" and rng.random() < 0.3:
            del made[at:]
        elif kind == "drop":
            del made[at : at + piece]
        else:
            made[at:at] = made[at : at + piece]
    return bytes(made)


def _other(value: Any, rng: random.Random) -> Any:
    made = [copy.deepcopy(value)]
    for _ in range(rng.randint(1, 3)):
        holder, at = made, 0
        while isinstance(holder[at], dict | list) and holder[at] and rng.random() < 0.85:
            holder = holder[at]
            names = sorted(holder) if isinstance(holder, dict) else range(len(holder))
            at = rng.choice(names)
        if isinstance(holder, dict) and rng.random() < 0.25:
            del holder[at]
        elif isinstance(holder, dict) and rng.random() < 0.2:
            holder[rng.choice(("", "x", "kind", "schema"))] = copy.deepcopy(rng.choice(ODD))
        elif isinstance(holder[at], int | float) and rng.random() < 0.4:
            holder[at] = holder[at] * rng.choice((-1, 2, 10**6)) + rng.choice((0, 1, 0.5))
        else:
            holder[at] = copy.deepcopy(rng.choice(ODD))
    return made[0]


class Findings:
    """What readers should not have done, once for each place; inputs go into a folder."""

    def __init__(self, name: str, read: Callable[[bytes], object], folder: Path) -> None:
        self.name, self.read, self.folder = name, read, folder
        self.found: dict[str, int] = {}
        self.trials = self.taken = 0
        self.seconds = 0.0

    def try_one(self, raw: bytes) -> None:
        """Read one input."""
        self.trials += 1
        started, began = time.monotonic(), time.process_time()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
                self.read(raw)
            self.taken += 1
        except UserError as error:
            text = str(error)
            if not text or "\n" in text or len(text) > LONGEST:
                self._note(f"message of {len(text)} characters: {text[:80]!r}", raw)
        except Exception as error:
            frames = traceback.extract_tb(error.__traceback__)
            ours = [f for f in frames if "/benchmark/" in f.filename or "/methods/" in f.filename]
            at = (ours or frames)[-1]
            place = f"{Path(at.filename).name}:{at.lineno}"
            self._note(f"{type(error).__name__} at {place}: {str(error)[:120]}", raw, place)
        seconds = time.monotonic() - started
        self.seconds += time.process_time() - began
        if seconds > SLOW and time.process_time() - began > SLOW / 4:
            self._note(f"{seconds:.0f} s", raw, "slow")
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
        if grown > FLOOD and self.trials > 20:
            self._note(f"{grown / 2**20:.0f} MiB", raw, "flood")

    def tell(self) -> None:
        """Say how many inputs there were."""
        print(
            f"{self.name}: {self.trials} inputs in {self.seconds:.0f} s, {self.taken} taken, "
            f"{len(self.found)} findings; inputs in {self.folder}",
            flush=True,
        )

    def _note(self, what: str, raw: bytes, place: str = "") -> None:
        if (place or what) not in self.found:
            file = self.folder / f"{self.name}-{len(self.found)}.bin"
            file.write_bytes(raw)
            print(f"FINDING {self.name}: {what} ({file})", flush=True)
        self.found[place or what] = self.found.get(place or what, 0) + 1


def fuzz(names: list[str], seconds: float, seed: int, folder: Path) -> None:
    """Fuzz readers in turns for so long, at random."""
    readers = {name: fuzz_inputs.READERS[name](folder / name) for name in names}
    found = {name: Findings(name, reader.read, folder) for name, reader in readers.items()}
    pools, rng = {name: list(reader.seeds) for name, reader in readers.items()}, random.Random(seed)
    for name, pool in pools.items():
        for raw in pool if readers[name].whole else ():
            with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
                readers[name].read(raw)
    started, turn = time.monotonic(), TURN / 10
    while time.monotonic() - started < seconds:
        for name, findings in found.items():
            pool, began = pools[name], time.process_time()
            while time.process_time() - began < turn:
                raw = mutated(rng.choice(pool), rng)
                findings.try_one(raw)
                if rng.random() < 0.01 and len(pool) < 200:
                    pool.append(raw)
            findings.tell()
        turn = TURN


def guided(name: str, seconds: float, seed: int, folder: Path) -> None:
    """Fuzz one reader by libFuzzer, which ends this process."""
    reader = fuzz_inputs.READERS[name](folder / name)
    findings, seeds = Findings(name, reader.read, folder), reader.seeds
    corpus = folder / f"corpus-{findings.name}"
    corpus.mkdir()
    for number, raw in enumerate(seeds):
        (corpus / str(number)).write_bytes(raw)

    def mutate(data: bytes, most: int, word: int) -> bytes:
        rng = random.Random(word)
        if rng.random() < 0.3:
            return atheris.Mutate(data, most)
        return mutated(data, rng)[:most]

    started = time.monotonic()

    def one(raw: bytes) -> None:
        if time.monotonic() - started > seconds:  # libFuzzer ends a process without a word
            findings.tell()
            os._exit(0)
        findings.try_one(raw)

    longest = 2 * max(map(len, seeds)) + 100
    options = [f"-seed={seed + 1}", f"-max_len={longest}", "-rss_limit_mb=6000"]
    options += ["-timeout=300", "-verbosity=0", "-len_control=0", f"-artifact_prefix={folder}/"]
    atheris.Setup([sys.argv[0], str(corpus), *options], one, custom_mutator=mutate)
    atheris.Fuzz()


def main() -> None:
    parser = argparse.ArgumentParser(description="Fuzz the readers of what strangers write.")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument(
        "--reader", choices=sorted(fuzz_inputs.READERS), action="append", help="again for each"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--guided", action="store_true")
    asked = parser.parse_args()
    folder, seconds = Path(tempfile.mkdtemp(prefix="labelbench-fuzz-")), 60 * asked.minutes
    if asked.guided:
        (name,) = asked.reader
        guided(name, seconds, asked.seed, folder)
    else:
        fuzz(asked.reader or list(fuzz_inputs.READERS), seconds, asked.seed, folder)


if __name__ == "__main__":
    main()
