import re
from pathlib import Path

import pytest
import torch
from variants import QUICK

from benchmark.core import plugins
from benchmark.core.errors import UserError
from benchmark.experiment import fitter
from benchmark.experiment.conformance import check
from benchmark.experiment.conformance.method import CHECKS
from benchmark.experiment.conformance.method_fit import tiny_task
from benchmark.labels import view_kernel
from benchmark.models.priors import clips

START = """
import torch
from dataclasses import dataclass
from benchmark.methods.hard import Hard

class Broken(Hard):
"""

BROKEN = {
    "wrong_shape": (
        "def targets(self, *a): return super().targets(*a)[:, :5]",
        r"`targets` must be float32 \(27, 10\), got torch.float32 \(27, 5\)",
    ),
    "wrong_dtype": (
        "def targets(self, *a): return super().targets(*a).double()",
        r"`targets` must be float32 \(27, 10\), got torch.float64 \(27, 10\)",
    ),
    "no_probabilities": (
        "def targets(self, *a): return 2 * super().targets(*a)",
        r"sum to 1 \(sums from 2.000 to 2.000\). For logits set space = \"logits\"",
    ),
    "not_finite": (
        "def targets(self, *a): return super().targets(*a).log()",
        "`targets` holds values that are not finite",
    ),
    "with_a_graph": (
        "def targets(self, *a): return super().targets(*a).requires_grad_()",
        "compute it under torch.no_grad",
    ),
    "not_shipped": (
        """
    def __init__(self, task, options):
        super().__init__(task, options)
        self.table = torch.rand(len(task.images), task.classes).softmax(1)

    def targets(self, views, images, epoch):
        return self.task.mixed(self.table, views)
        """,
        "`tensors` and `restore` do not carry all that `targets` needs",
    ),
    "looks_at_the_teacher": (
        "def targets(self, views, images, epoch): return self.task.teacher(images).softmax(1)",
        "It raised TypeError: 'NoneType' object is not callable",
    ),
    "unseeded_views": (
        """
    def views(self, epoch):
        for batch in range(self.task.plan.batches):
            yield self.task.plan.batch(int(torch.randint(10**9, ())), batch)
        """,
        "`views` gives other views when asked again: seed what it draws",
    ),
    "too_few_views": (
        "def views(self, epoch): yield self.task.plan.batch(epoch, 0)",
        "`views` gave 1 batches an epoch, the plan has 3",
    ),
    "endless_views": (
        """
    def views(self, epoch):
        while True:
            yield self.task.plan.batch(epoch, 0)
        """,
        "`views` gave 4 or more batches an epoch, the plan has 3",
    ),
    "fits_at_random": (
        """
    @classmethod
    def fit(cls, task, options):
        source = cls(task, options)
        source.noise = int.from_bytes(__import__("os").urandom(4), "big")
        return source

    def manifest(self): return {"noise": getattr(self, "noise", 0)}
        """,
        r"Two fits of the same task differ in 'labels.packed': draw everything random from",
    ),
    "nan_in_epoch_21": (
        """
    def targets(self, views, images, epoch):
        return super().targets(views, images, epoch) * (float("nan") if epoch == 21 else 1)
        """,
        "`targets` holds values that are not finite, in epoch 21",
    ),
    "huge": (
        """
    def tensors(self):
        from benchmark import StoredTensor
        yield StoredTensor("all", "values", torch.empty(600 * 2**20, dtype=torch.uint8))
        """,
        "`tensors` ship more than 67,108,864 bytes for 80 images",
    ),
    "unpickles": (
        """
    def tensors(self):
        import pickle
        from benchmark import StoredTensor
        code = pickle.dumps(dataclass)
        yield StoredTensor("code", "values", torch.frombuffer(bytearray(code), dtype=torch.uint8))

    @classmethod
    def restore(cls, task, options, shipped):
        import pickle
        pickle.loads(shipped.tensors["code"].numpy().tobytes())
        return cls(task, options)
        """,
        "`restore` unpickles dataclasses.dataclass: what is shipped must hold no code",
    ),
    "remembers_the_fit": (
        """
    LABELS = []

    @classmethod
    def fit(cls, task, options):
        cls.LABELS.append(task.images.labels)
        return cls(task, options)

    def targets(self, views, images, epoch):
        table = torch.eye(self.task.classes)[self.LABELS[0]]
        return self.task.mixed(table, views)
        """,
        r"It raised IndexError: list index out of range \(in targets, remembers_the_fit.py, line",
    ),
    "on_the_cpu": (
        """
    def targets(self, views, images, epoch):
        return super().targets(views, images, epoch).cpu()
        """,
        r"on_the_cpu.py, line \d+, in targets: .* waits for the device",
    ),
    "changed_images": (
        """
    @classmethod
    def fit(cls, task, options):
        task.images.pixels.zero_()
        return cls(task, options)
        """,
        "`fit` changed the distilled images; they are shared by all methods",
    ),
    "returns_nothing": (
        "@classmethod\n    def fit(cls, task, options): pass",
        "`fit` returned NoneType, not a LabelSource",
    ),
    "ships_a_pickle": (
        """
    def save(self, folder):
        super().save(folder)
        torch.save({}, folder / "more.pt")
        """,
        r"`save` wrote \['more.pt'\]: an artefact holds a manifest and tensors only",
    ),
    "draws_by_the_seed": (
        "def targets(self, *a): return super().targets(*a).roll(self.task.seed, 1)",
        "`targets` depends on the student's seed, in epoch 0: let `seeded` be true",
    ),
    "shows_by_the_seed": (
        """
    def views(self, epoch):
        batches = list(super().views(epoch))
        return iter(batches[self.task.seed:] + batches[:self.task.seed])
        """,
        "`views` depends on the student's seed, in epoch 0: let `seeded` be true",
    ),
    "counts_wrong": (
        """
    def storage(self):
        from dataclasses import replace
        return replace(super().storage(), container=1)
        """,
        r"`storage` sums to 1 bytes, the files hold \d+",
    ),
    "takes_any_images": (
        "@classmethod\n    def load(cls, folder, task): return cls(task, cls.Options())",
        "`load` accepted an artefact with other images; keep the base class's checks",
    ),
    "teaches_nothing": (
        "def loss(self, logits, *a): return 0 * logits.sum()",
        "weights did not move: does `loss` depend on its logits",
    ),
    "remembers_numbers": (
        """
    def loss(self, logits, *a):
        self.training_state["seen"] = len(logits)
        return super().loss(logits, *a)
        """,
        r"`training_state` may hold tensors only, got \{'seen': 'int'\}",
    ),
    "raises": ("def loss(self, *a): raise KeyError('x')", "It raised KeyError: 'x'"),
    "plain_options": ("class Options: pass", "`Options` must be a dataclass: decorate it"),
    "thawed_options": ("@dataclass\n    class Options: pass", "`Options` must be frozen: decorate"),
    "open_options": (
        "@dataclass(frozen=True)\n    class Options:\n        k: int",
        "Every option needs a default: .*'k'",
    ),
}


@pytest.fixture
def problems(tmp_path, monkeypatch):
    """The problems that the checks find in a plugin of this code."""
    monkeypatch.setattr(plugins, "_added", {})

    def of_code(name: str, code: str) -> list[str]:
        file: Path = tmp_path / f"{name}.py"
        file.write_text(code)
        plugin = plugins.add(file)
        found = check(plugin.kind, plugin.name)
        return [problem for _, problem in found if problem is not None]

    return of_code


LONG = ("hello", "ld", "ld_rr", "transform", "vqae")  # by default, tens of seconds
SHORTER = """
from dataclasses import replace
from benchmark.methods.{module} import {name}

class Shorter({name}):
    @classmethod
    def resolve_options(cls, options, shape, budget):
        return super().resolve_options(replace(options, **{options}), shape, budget)
"""


FEWER = """
from pathlib import Path
from benchmark.labels import view_kernel
from benchmark.models.priors import clips

view_kernel.VIEWS = 100
clips.EMBEDDED = Path({prior!r})
"""


@pytest.fixture(scope="module")
def fewer(small_prior):
    """Kernels of few views and a small prior, here and, by this code, in the process that fits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(view_kernel, "VIEWS", 100)
        yield FEWER.format(prior=str(clips.EMBEDDED))
    fitter.stop()


@pytest.mark.parametrize("name", LONG)
def test_methods_that_fit_long_keep_the_contract_under_options_that_do_not(problems, fewer, name):
    cls = plugins.load(plugins.METHODS, name).__name__
    code = SHORTER.format(module=name, name=cls, options=QUICK[name])
    assert problems(f"shorter_{name}", fewer + code) == []


@pytest.mark.parametrize("name", sorted({*plugins.found(plugins.METHODS)} - {*LONG}))
def test_every_method_keeps_the_contract(name):
    results = list(check(plugins.METHODS, name))
    assert [problem for _, problem in results if problem is not None] == []
    needs_a_file = plugins.found(plugins.METHODS)[name].literal("required", "")
    assert len(results) == (1 if needs_a_file else len(CHECKS))


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_method_is_told_what_to_mend(problems, name):
    body, message = BROKEN[name]
    found = problems(name, f"{START}    {body}\n")
    assert re.search(message, found[0])


def test_a_file_with_no_method_or_two(problems):
    with pytest.raises(UserError, match=r"exactly one class derived from .*; it defines 0\."):
        problems("no_method", "import torch")
    with pytest.raises(UserError, match=r"it defines 2: Broken, More\."):
        problems("two_methods", f"{START}    pass\nclass More(Broken): pass")


def test_a_method_that_misses_members(problems):
    found = problems(
        "bare", "from benchmark import LabelSource\nclass Bare(LabelSource):\n    pass\n"
    )
    assert found == ["`fit` returned NoneType, not a LabelSource."]


def test_the_task_of_the_checks_is_the_same_every_time(tmp_path):
    def fingerprint(folder):
        folder.mkdir()
        task = tiny_task(folder)
        teacher = task.teacher
        assert teacher is not None
        return task.images.digest, torch.cat([p.flatten() for p in teacher.parameters()])

    (first, weights), (again, same) = fingerprint(tmp_path / "a"), fingerprint(tmp_path / "b")
    assert first == again
    assert weights.equal(same)
