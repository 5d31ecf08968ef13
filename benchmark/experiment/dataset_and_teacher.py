"""What a grid starts from: the real dataset, its teacher, and weak ones; made once and kept."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from ..core import hub, keys
from ..core.bounded_cache import BoundedCache
from ..core.cache import Cache
from ..core.code_digest import Code, code_of
from ..core.device import Compute
from ..core.errors import UserError
from ..core.files import content_digest, digest, file_digest, read_json, write_json
from ..core.needs import Needs
from ..core.options import build
from ..core.pickles import SUFFIXES
from ..core.progress import say
from ..core.remote import shown
from ..core.remote_cache import RemoteCache
from ..core.remote_work import STAGES, RemoteWork
from ..data import whitening
from ..data.dataset_source import dataset
from ..data.images import IMAGENET_MEAN, IMAGENET_STD, Dataset, ResidentImages, Undecoded
from ..data.place import Place
from ..data.whitening import Whitening
from ..models import joins, networks, teachers
from ..models.agreement import described
from ..models.classifier import correct
from ..models.priors import content as prior_content
from ..models.priors import fetched
from ..models.teachers import PRETRAINED, Teacher, TeacherOptions
from ..records.environment import world
from .grid import Grid


@dataclass(frozen=True)
class Runtime:
    """Where and on what a run works.

    Attributes:
        work: folder of stages, checkpoints and records, on this machine.
        data_root: of local copies of datasets.
        force: measure finished cells anew, from the artefacts that are there.
        batched: base sets whose labels are learned side by side, at most.
        share: whether students of the same labels are trained on one stream of them.
        jobs: processes that measure side by side.
        look_only: make and write nothing, and read no pixels: look at what is there.
        url: of the work folder where it is elsewhere; `work` is what keeps it on this machine.
    """

    work: Path
    compute: Compute
    data_root: Path | None
    download: bool = False
    force: bool = False
    batched: int = 1
    share: bool = True
    jobs: int = 1
    look_only: bool = False
    url: str = ""

    @property
    def remote(self) -> RemoteWork | None:
        """The work folder where it is elsewhere."""
        return RemoteWork.at(self.url) if self.url else None

    @property
    def place(self) -> str:
        """The work folder as messages name it."""
        return shown(self.url).rstrip("/") if self.url else str(self.work)

    def here(self) -> "Runtime":
        """The same on this machine, which another one may have sent it to."""
        return replace(self, work=self.remote.folder) if self.remote else self

    def stages(self, machine: Mapping[str, Any]) -> Cache:
        """The stages of the work folder; `machine` as for `Cache`."""
        if self.remote:
            return RemoteCache(self.remote, self.look_only, machine)
        return Cache(self.work / STAGES, self.look_only, machine)

    def keep(self, *paths: Path) -> None:
        """Copy what was written into `work` to where the work folder is, if that is elsewhere."""
        if self.remote:
            self.remote.put(*paths)

    def drop(self, path: Path) -> None:
        """Take a file of the work folder away."""
        if path.exists():
            (self.remote.remove if self.remote else Path.unlink)(path)


def _unread(*modules: str) -> Code:
    """The code of modules, where no key is held against one that was made before."""
    return Code("", {}, modules)


@dataclass(frozen=True)
class Accuracy:
    """A stage's `accuracy.json`: the share of test images that a classifier gets right."""

    accuracy: float


class DatasetAndTeacher:
    """Dataset and teachers of one grid; for each stage its key, then the stage itself."""

    def __init__(self, grid: Grid, runtime: Runtime) -> None:
        self.grid, self.runtime = grid, runtime.here()
        here = world(runtime.compute)
        machine = {name: here[name] for name in ("device", "hardware", "threads")}
        self.cache = self.runtime.stages(machine)
        self.pixels = BoundedCache.of_user(runtime.look_only)
        # Each is read once, not once a cell.
        self.open = cache(self._open)
        self._content = cache(content_digest)
        self._prior = {True: cache(fetched), False: cache(prior_content)}
        # A look that can find nothing, as there is no folder, need not know what made it.
        empty = runtime.look_only and not runtime.url and not runtime.work.exists()
        self._code = cache(_unread if empty else code_of)

    @cached_property
    def dataset(self) -> Dataset:
        """The real dataset."""
        return self.open(self.grid.dataset)

    def _open(self, text: str) -> Dataset:
        """Any real dataset, named as for `--dataset`.

        Raises:
            UserError: there is no such dataset, or it is not on this machine.
        """
        name, _, argument = text.partition(":")
        source = dataset(name)
        if argument and not source.argument:
            raise UserError(f"Dataset {name!r} takes nothing after a colon, got {argument!r}.")
        download = self.runtime.download and not self.runtime.look_only
        place = Place(self.runtime.data_root, self.pixels, download)
        loaded = source.load(place, argument)
        device = self.runtime.compute.device
        if device.type == "cuda" and isinstance(loaded.train, ResidentImages):
            loaded = replace(loaded, train=loaded.train.to(device))
        return loaded

    def pixels_told(self) -> list[str]:
        """What a look at the dataset found of its decoded pixels, in sentences."""
        sets = [i for i in (self.dataset.train, self.dataset.test) if isinstance(i, Undecoded)]
        if not sets:
            return []
        cache, missing = self.pixels, sum(images.missing for images in sets)
        kept = sum(cache.sizes().values())
        there = f"{kept / 1e9:.2f} GB there of at most {cache.most / 1e9:g} GB"
        told = f"would be written to {cache.root}" if missing else f"are in {cache.root}"
        size = f"{missing / 1e9:.2f} GB " if missing else ""
        lines = [f"decoded pixels: {size}{told}; {there}"]
        if any(math.isnan(number) for number in self.dataset.mean):
            lines.append(
                "the pixels were never read on this machine: what was made from them elsewhere "
                "would not be found"
            )
        return lines

    def key(self, inputs: Mapping[str, Any], *modules: str) -> dict[str, Any]:
        """The key of what `modules` make of `inputs` here; see `keys`."""
        return keys.key(inputs, self.runtime.compute, self._code(*modules))

    @cached_property
    def facts(self) -> dict[str, Any]:
        """All of the dataset that what is made from it can depend on, but for its test images."""
        dataset = self.dataset
        return {
            "train": dataset.train.digest,
            "classes": digest(list(dataset.class_names)),
            "mean": dataset.mean,
            "std": dataset.std,
            "mirror": dataset.mirror,
        }

    @cached_property
    def whitening(self) -> Whitening:
        """The map that whitens the training set, on the device."""
        train = self.dataset.train
        key = self.key({"train": train.digest}, whitening.__name__)
        folder = self.cache.make("whitening", key, lambda f: whitening.write_whitening(train, f))
        return whitening.read_whitening(folder, self.runtime.compute.device)

    def content_of(self, needs: Needs, who: str, fetch: bool) -> dict[str, Any]:
        """What a method or image source depends on, by content; the images it starts from aside.

        Args:
            who: needs it, for errors.
            fetch: whether priors that are not on this machine are downloaded.

        Raises:
            UserError: a file is not there, or a prior can't be had.
        """
        found: dict[str, Any] = {}
        if needs.teacher:
            found["teacher"] = self.teacher_key
        if needs.snapshots:
            found["snapshots"] = self.training_key
        for path in needs.files:
            if not path.exists():
                raise UserError(f"{who}: there is nothing at {str(path)!r}.")
        found["files"] = [self._content(path) for path in needs.files]
        found["priors"] = [self._prior[fetch](name) for name in needs.priors]
        found["networks"] = list(needs.networks)
        found["datasets"] = [self.open(name).train.digest for name in needs.datasets]
        return found

    @cached_property
    def identity(self) -> str:
        """A digest of dataset and teacher, whatever their names."""
        return digest([self.facts, self.dataset.test.digest, self.teacher_key])

    @cached_property
    def teacher_key(self) -> dict[str, Any]:
        """What decides the teacher's weights."""
        network, file = self.teacher_source
        if file is None:
            return self.training_key
        content = str(file) if file == PRETRAINED else file_digest(file)
        options = self.teacher_options
        read = {"normalise": options.normalise, "class_order": options.class_order}
        key = {"network": network, **self.facts, "file": content, **read}
        return self.key(key, teachers.__name__, networks.module_of(network))

    @cached_property
    def training_key(self) -> dict[str, Any]:
        """What decides a teacher that is trained here, and its snapshots."""
        network = self.teacher_source[0]
        key = {"network": network, **self.facts, "options": asdict(self.teacher_options)}
        return self.key(key, teachers.__name__, networks.module_of(network))

    def trained(self) -> Path:
        """The stage of a teacher that is trained here, and its snapshots."""
        return self.cache.make(
            "teacher", self.training_key, self.train_teacher, self.teacher_source[0]
        )

    def train_teacher(self, folder: Path) -> None:
        """Train the teacher, into a folder; several processes may do so together."""
        network, options = self.teacher_source[0], self.teacher_options
        teachers.trained(network, self.dataset, options, self.runtime.compute, folder)

    def make_teacher_with(self, begin: Callable[[Path], None]) -> None:
        """Have a teacher that is trained here, if it is missing.

        Args:
            begin: called with the folder where it is trained, before that.
        """

        def build_stage(folder: Path) -> None:
            begin(folder)
            self.train_teacher(folder)

        if self.teacher_source[1] is None:
            self.cache.make("teacher", self.training_key, build_stage, self.teacher_source[0])

    @cached_property
    def teacher(self) -> Teacher:
        """The teacher, on the device."""
        network, file = self.teacher_source
        images, compute = self.dataset.train, self.runtime.compute
        classes = len(self.dataset.class_names)
        size = (classes, images.channels, images.resolution)
        if file is None:
            file = self.trained() / teachers.WEIGHTS
            return teachers.load(network, file, *size, compute.device).teacher
        if file == PRETRAINED:
            teacher, recorded = teachers.pretrained(network, classes, compute.device), None
        else:
            norm = self._norm
            found = teachers.load(network, file, *size, compute.device, norm)
            teacher, recorded = found.teacher, found.accuracy
            if self.runtime.look_only:  # there are no pixels to ask it about
                return teacher
            if found.assumed:
                say(
                    f"{file.name} does not say how pixels are normalised: ImageNet's mean and "
                    "standard deviation are assumed; --set teacher.normalise=dataset or none "
                    "takes others"
                )
        self._join(teacher, recorded)
        return teacher

    def _join(self, teacher: Teacher, recorded: float | None) -> None:
        """Refuse a teacher of others that does not know the dataset."""
        train, compute = self.dataset.train, self.runtime.compute
        found = joins.known(teacher, train, compute)
        if self.teacher_options.class_order == "fitted" and found.order is not None:
            teachers.reorder(teacher, found.order)
            told = described(found.order, train.class_names)
            say(f"the teacher's classes are put in order: {told}")
            found = joins.known(teacher, train, compute)
        joins.check_teacher(found, recorded, train, self.grid.teacher, self.grid.accept)

    @property
    def _norm(self) -> teachers.Norm | None:
        """What the user says that a teacher's file expects of pixels; None where nothing."""
        dataset, channels = self.dataset, self.dataset.train.channels
        mean, std = {
            "auto": (None, None),
            "imagenet": (IMAGENET_MEAN[:channels], IMAGENET_STD[:channels]),
            "dataset": (dataset.mean, dataset.std),
            "none": ((0.0,) * channels, (1.0,) * channels),
        }[self.teacher_options.normalise]
        if mean is None or std is None:
            return None
        return teachers.Norm(mean=list(mean), std=list(std))

    @cached_property
    def snapshots(self) -> list[Teacher]:
        """Snapshots along one training of the teacher's network, on the device.

        A teacher from a file has no training to look back on: one is made for them.
        """
        images, folder = self.dataset.train, self.trained()
        size = (len(self.dataset.class_names), images.channels, images.resolution)
        device = self.runtime.compute.device
        return [
            teachers.load(self.teacher_source[0], file, *size, device).teacher
            for file in sorted(folder.glob(teachers.SNAPSHOTS))
        ]

    @cached_property
    def tested_key(self) -> dict[str, Any]:
        """What decides the teacher's accuracy on the test set."""
        key = {"teacher": self.teacher_key, "test": self.dataset.test.digest}
        return self.key(key, correct.__module__)

    def teacher_accuracy(self) -> float:
        """Of the teacher on the test set, measured here; decides nothing."""

        def build_stage(folder: Path) -> None:
            right = correct(self.teacher, self.dataset.test, self.runtime.compute)
            write_json(folder / "accuracy.json", Accuracy(right.double().mean().item()))

        folder = self.cache.make("teacher-accuracy", self.tested_key, build_stage)
        return read_json(folder / "accuracy.json", Accuracy).accuracy

    @cached_property
    def teacher_options(self) -> TeacherOptions:
        """How the teacher is trained here, or read."""
        return build(TeacherOptions, self.grid.of("teacher"), "teacher")

    @cached_property
    def teacher_source(self) -> tuple[str, Path | None]:
        """The teacher's network, and the file of its weights unless it is trained here."""
        network, far, place = self.grid.teacher.partition(f":{hub.PREFIX}")
        if far:
            file = hub.weights_file(hub.PREFIX + place, (".safetensors", *SUFFIXES))
            return teachers.find(f"{network}:{file.absolute()}", None)
        return teachers.find(self.grid.teacher, self.runtime.data_root)
