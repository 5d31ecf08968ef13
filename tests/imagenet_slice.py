"""What a dry run and the start of a run foretell at ImageNet's sizes, beside what a slice takes.

    python tests/imagenet_slice.py FOLDER [--ipc 10] [--epochs 1] [--network convnet-d5-w2]

In FOLDER a synthetic set of 1,000 classes is written, unless it is there, and the main job
(`hello,lpqld,label_function`, 224 pixels) runs on it, in few epochs and with a small network. Times
are the processors' of one thread, so that other work on the machine does not count; memory is what
processes have of their own (`RssAnon`) at their most. Linux only.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import synthetic_imagenet
from watching import Watch

METHODS = "hello[epochs=1,rank=0,probe=128],lpqld,label_function"
PROCESSORS_TIME = "import time; time.perf_counter = time.monotonic = time.process_time\n"
UNITS = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9}
TICK = os.sysconf("SC_CLK_TCK")
Table = dict[str, float]


class Processes(Watch):
    """The processes that a run is made of: the most memory of each, and its processor's time.

    Attributes:
        root: the one that began the others.
    """

    def __init__(self, root: int) -> None:
        super().__init__()
        self.bytes: dict[int, int] = {}
        self.seconds: dict[int, float] = {}
        self.root = root

    def look(self) -> None:
        parents = {int(p.name): _parent(p) for p in Path("/proc").glob("[0-9]*")}
        for pid in parents:
            above = pid
            while above in parents and above != self.root:
                above = parents[above]
            if above == self.root:
                self._note(pid)

    def _note(self, pid: int) -> None:
        try:
            status = Path(f"/proc/{pid}/status").read_text()
            times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            return
        found = re.search(r"RssAnon:\s+(\d+)", status)
        taken = int(found[1]) * 1024 if found else 0
        self.bytes[pid] = max(self.bytes.get(pid, 0), taken)
        self.seconds[pid] = (int(times[11]) + int(times[12])) / TICK


def _parent(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def run_here(words: list[str], told: str) -> None:
    """Run the command line in this process, and write what its start foretells, in seconds."""
    from benchmark.__main__ import main
    from benchmark.experiment import run_grid

    spoken = run_grid.said

    def said(estimate: Any, *rest: Any, **more: Any) -> list[str]:
        Path(told).write_text(json.dumps(estimate.parts))
        return spoken(estimate, *rest, **more)

    run_grid.said = said
    sys.argv = ["labelbench", *words]
    main()


def ran(folder: Path, words: list[str]) -> tuple[str, Processes]:
    """What a run says on standard error, and what its processes take."""
    (folder / "sitecustomize.py").write_text(PROCESSORS_TIME)
    code = (
        f"import imagenet_slice; imagenet_slice.run_here({words!r}, {str(folder / 'told.json')!r})"
    )
    places = os.pathsep.join([str(folder), str(Path(__file__).parent)])
    settings = {**os.environ, "PYTHONPATH": places, "OMP_NUM_THREADS": "1"}
    with (folder / "log").open("w") as log:
        child = subprocess.Popen([sys.executable, "-c", code], stderr=log, env=settings)
        with Processes(child.pid) as looks:
            child.wait()
    said = (folder / "log").read_text()
    if child.returncode:
        raise RuntimeError(said)
    return said, looks


def amounts(said: str, of: str) -> Table:
    """Bytes of each thing that a dry run lists in the line that begins so."""
    (line,) = re.findall(rf"^{of}.*", said, re.MULTILINE)
    found = re.findall(r"(?:: |, )([^,;]+?) ([\d.]+) (B|kB|MB|GB)\b", line)
    return {name: float(number) * UNITS[unit] for name, number, unit in found}


def on_disk(work: Path) -> Table:
    """Bytes of the images and of each method's labels."""
    images = [f for f in work.glob("stages/images-*/*") if f.suffix not in (".json", "")]
    found: Table = {"images": sum(file.stat().st_size for file in images)}
    for record in records(work):
        name = record["cell"]["method"].partition("[")[0]
        found[f"labels {name}"] = record["storage"]["total"]
    return found


def seconds(work: Path) -> Table:
    """Of each kind of stage, as stages and records say."""
    found: Table = {"teacher": 0.0, "labels": 0.0, "students": 0.0}
    for file in work.glob("stages/teacher-*/made.json"):
        found["teacher"] += json.loads(file.read_text())["seconds"]
    for record in records(work):
        found["labels"] += record["result"]["seconds_fit"]
        found["students"] += record["result"]["seconds_train"]
    return found


def records(work: Path) -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in sorted(work.glob("records/*.json"))]


def show(title: str, foretold: Table, measured: Table) -> None:
    """A line for each name that both have."""
    print(title, flush=True)
    for name in foretold.keys() & measured.keys():
        a, b = foretold[name], measured[name]
        print(f"  {name}: foretold {a:,.4g}, measured {b:,.4g}, ratio {a / b:.3f}", flush=True)


def main(folder: Path, ipc: int, epochs: int, network: str) -> None:
    """Write the set, foretell, run, and set both side by side."""
    if not (folder / "imagenet1k").exists():
        synthetic_imagenet.write(folder / "imagenet1k", 1000, max(11, ipc), 1, "tables")
    work = folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    words = ["run", "--dataset", "imagenet1k", "--data-root", str(folder), "--work", str(work)]
    words += ["--methods", METHODS, "--images", "random", "--ipc", str(ipc), "--no-controls"]
    words += ["--students", network, "--teacher", network, "--recipe", "imagenet1k"]
    words += ["--set", f"recipe.epochs={epochs}", "--set", "teacher.epochs=1", "--seeds", "1"]
    words += ["--device", "cpu", "--jobs", "1"]
    dry = ran(folder, [*words, "--dry-run"])[0]
    started = time.monotonic()
    _, looks = ran(folder, words)
    print(f"{time.monotonic() - started:,.0f} s by the clock", flush=True)
    disk = amounts(dry, "bytes on disk")
    shorter = {" ".join(n.partition("[")[0].split()[:2]): size for n, size in disk.items()}
    shorter["images"] = sum(size for name, size in disk.items() if name.startswith("images"))
    show("bytes on disk", shorter, on_disk(work))
    memory = amounts(dry, "memory of the host")
    fits = max(memory.get(kind, 0) for kind in ("teacher", "images", "labels"))
    # The process that trains students began the others; of those one fits.
    own, others = looks.bytes[looks.root], [b for p, b in looks.bytes.items() if p != looks.root]
    show(
        "memory",
        {"students": memory["students"], "the process that fits": fits},
        {"students": own, "the process that fits": max(others)},
    )
    foretold, measured = json.loads((folder / "told.json").read_text()), seconds(work)
    # Neither stages nor records say what starting, images, tests and pictures' bytes take.
    each, whole = sum(foretold[name] for name in measured), sum(looks.seconds.values())
    foretold["all"] = sum(foretold.values())
    foretold["the rest"] = foretold["all"] - each
    measured |= {"all": whole, "the rest": whole - sum(measured.values())}
    show("seconds", foretold, measured)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--ipc", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--network", default="convnet-d5-w2")
    asked = parser.parse_args()
    main(asked.folder.resolve(), asked.ipc, asked.epochs, asked.network)
