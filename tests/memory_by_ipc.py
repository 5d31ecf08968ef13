"""Peak memory and time of relabelling and fitting by images per class, at 1,000 classes.

    python tests/memory_by_ipc.py [--ipc 10,200] [--methods soft,lpqld] [--side 32] [--epochs 1]

The teacher is one linear layer, so that labels and not the network decide. Each figure is of a
process of its own: what it takes at its peak beyond what it had before the fit began, of memory of
its own (`RssAnon`; pages of files that are mapped can be given back). Linux only.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn
from watching import Watch

from benchmark.core.cache import Cache
from benchmark.core.device import Compute
from benchmark.data import distilled
from benchmark.data.images import ResidentImages
from benchmark.data.recipe import Objective
from benchmark.data.views import Augmentation, ViewPlan
from benchmark.labels.contract import method
from benchmark.labels.label_shards import LabelShards
from benchmark.labels.task import LabelTask
from benchmark.models.teachers import Teacher

CLASSES, BATCH = 1000, 100


@dataclass(frozen=True)
class Taken:
    """What one fit took.

    Attributes:
        before, peak: bytes of memory of its own.
        seconds: of the fit, of the processor.
        labels: views that the teacher labelled.
    """

    method: str
    ipc: int
    before: int
    peak: int
    seconds: float
    labels: int


class Peak(Watch):
    """The most memory of its own that this process has while it is watched."""

    every = 0.005

    def __init__(self) -> None:
        super().__init__()
        self.bytes = own_bytes()

    def look(self) -> None:
        self.bytes = max(self.bytes, own_bytes())


def own_bytes() -> int:
    """Bytes of memory that no file stands behind."""
    facts = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    return int(facts["RssAnon"].split()[0]) * 1024


def write_images(folder: Path, ipc: int, side: int) -> None:
    """Random pictures, grey and of all classes."""
    torch.manual_seed(0)
    pixels = torch.randint(0, 256, (CLASSES * ipc, 1, side, side), dtype=torch.uint8)
    labels = torch.arange(CLASSES).repeat_interleave(ipc)
    distilled.write(folder, ResidentImages(pixels, labels, [str(n) for n in range(CLASSES)]))


def taken(name: str, ipc: int, side: int, epochs: int, work: Path) -> Taken:
    """Fit and save a method's labels of images that lie in a folder."""
    torch.set_num_threads(1)
    images = distilled.read(work, torch.device("cpu"))
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(side * side, CLASSES))
    teacher = Teacher("linear", network, (0.5,), (0.3,)).eval().requires_grad_(False)
    plan = ViewPlan(0, len(images), side, BATCH, epochs, Augmentation())
    shards = LabelShards(Cache(work / "stages"), {}, plan, CLASSES)
    for folder in ("scratch", "saved"):
        (work / folder).mkdir()
    task = LabelTask(
        images=images,
        plan=plan,
        objective=Objective(),
        compute=Compute(torch.device("cpu"), bf16=False),
        seed=0,
        mean=(0.5,),
        std=(0.3,),
        teacher=teacher,
        train=images,
        label_shards=shards.of(images, teacher),
        scratch=work / "scratch",
    )
    cls = method(name)
    options = cls.resolve_options(cls.Options(), task.shape, None)
    asked = cls.relabelling(options, plan, 0)
    before, started = own_bytes(), time.process_time()
    with Peak() as peak:
        cls.fit(task, options).save(work / "saved")
    seconds = time.process_time() - started
    batches = 0 if asked is None else len(asked.numbers)
    return Taken(name, ipc, before, peak.bytes, seconds, batches * BATCH)


def apart(name: str, ipc: int, side: int, epochs: int) -> Taken:
    """What a fit takes in a process of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        write = f"write_images(Path({scratch!r}), {ipc}, {side})"
        fit = f"taken({name!r}, {ipc}, {side}, {epochs}, Path({scratch!r}))"
        head = "import json; from dataclasses import asdict; from pathlib import Path; "
        head += f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); "
        head += "from memory_by_ipc import taken, write_images; "
        for code in (write, f"print(json.dumps(asdict({fit})))"):
            done = subprocess.run([sys.executable, "-c", head + code], capture_output=True)
            if done.returncode:
                raise RuntimeError(done.stderr.decode())
        return Taken(**json.loads(done.stdout))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--ipc", default="10,200")
    parser.add_argument("--methods", default="soft,lpqld")
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=1)
    asked = parser.parse_args()
    for name in asked.methods.split(","):
        for ipc in map(int, asked.ipc.split(",")):
            found = apart(name, ipc, asked.side, asked.epochs)
            print(json.dumps(asdict(found)), flush=True)
