"""A GPU that is not there: one epoch of student training whose device tensors hold no numbers.

Tensors on `cuda` are PyTorch's fake ones, which know shape, type and device; those on the CPU are
real. So on any machine it shows whether code mixes devices, or waits for the device: whoever asks
a tensor without numbers for its numbers is told the line in which he asked.
"""

import traceback
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorMode,
)
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from ...core.device import Compute
from ...data.recipe import Recipe
from ...labels import student
from ...labels.contract import LabelSource
from ...labels.task import LabelTask
from ...models.training import Training
from ..evaluate import Build

aten: Any = torch.ops.aten
CUDA, META = torch.device("cuda", 0), torch.device("meta")
# They look at numbers on the CPU although they return none: whether an inversion failed.
LOOKS = {aten._linalg_check_errors.default}
# What autocast runs in lower precision, by the names that networks call.
LOWERED = {
    F.linear,
    F.conv2d,
    F.scaled_dot_product_attention,
    torch.matmul,
    torch.bmm,
    Tensor.matmul,
    Tensor.__matmul__,
}
STEPS = (aten._fused_sgd_.default, aten._fused_sgd_.tensor_lr)
HERE = Path(__file__).resolve()
TORCH = Path(torch.__file__).resolve().parent


class DeviceFault(Exception):
    """Code mixes devices, or waits for the device; the message names the line."""


class FakeCuda(FakeTensorMode):
    """While it is entered, there is a device `cuda` whose tensors are fake.

    Attributes:
        hurried: whether a copy to the device must not wait either, as inside an epoch: a
            `non_blocking` one does not.
    """

    def __init__(self) -> None:
        super().__init__(allow_non_fake_inputs=True)
        self.hurried, self._inside = False, False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        # What autograd and C++ ask: as on `cuda` they would look for the GPU's streams.
        if func is torch.ops.prim.device.default and isinstance(args[0], FakeTensor):
            return META
        kwargs = dict(kwargs or {})
        if kwargs.get("device") == META and not self.in_kernel_invocation:
            kwargs["device"] = CUDA
        if self._inside:
            return super().__torch_dispatch__(func, types, args, kwargs)
        leaves = tree_leaves((args, kwargs))
        if not any(map(_on_cuda, leaves)):
            return func(*args, **kwargs)
        self._check(func, args, kwargs, leaves)
        if func in STEPS:  # torch gives them no fake form; they change in place and return nothing
            return None
        self._inside = True
        try:
            return super().__torch_dispatch__(func, types, args, kwargs)
        except (DataDependentOutputException, DynamicOutputShapeException) as error:
            raise _fault(func, "waits for the device") from error
        finally:
            self._inside = False
            # Whoever is remembered by it cannot be moved: `Module.to` swaps tensors.
            self.fake_tensor_converter.tensor_memo.clear()

    def _check(self, func: Any, args: Any, kwargs: dict[str, Any], leaves: list[Any]) -> None:
        """Raise a DeviceFault for what real CUDA refuses or waits for, and fake tensors allow."""
        fake = any(isinstance(leaf, FakeTensor) for leaf in leaves)
        real = [x for x in leaves if isinstance(x, Tensor) and not isinstance(x, FakeTensor)]
        to = kwargs.get("device")
        if func in LOOKS or (fake and to is not None and to.type == "cpu"):
            raise _fault(func, "waits for the device")
        if func in (aten._to_copy.default, aten.copy_.default) and real:
            if real[0] is args[0] and fake:  # onto the CPU, in place
                raise _fault(func, "waits for the device")
            if self.hurried and not (kwargs.get("non_blocking") or args[2:3] == (True,)):
                raise _fault(
                    func,
                    "copies from the CPU and waits for it: copy with non_blocking=True, or once "
                    "in `restore`",
                )
            return
        written = func._schema.is_mutable and real and real[0] is args[0]
        if fake and (written or any(x.ndim for x in real)):
            raise _fault(func, "mixes tensors of the CPU with those of the device")


class FakeCompute(Compute):
    """The fake device; nothing is to be waited for."""

    def autocast(self) -> AbstractContextManager:
        """As torch's own, which asks for a GPU and looks for tensors on it from C++."""
        return _Lowered() if self.bf16 else nullcontext()

    def wait(self) -> None:
        pass


class _Lowered(TorchFunctionMode):
    """Products and convolutions of the device's tensors in bfloat16."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in LOWERED:
            args, kwargs = tree_map(_lowered, (args, kwargs or {}))
        return func(*args, **(kwargs or {}))


def on_cuda(task: LabelTask) -> LabelTask:
    """The task with its images on the fake device; only while a `FakeCuda` is entered."""
    compute = FakeCompute(CUDA, task.compute.bf16)
    return replace(task, images=task.images.to(CUDA), compute=compute)


def one_epoch(
    method: type[LabelSource],
    artefact: Path,
    task: LabelTask,
    network: str,
    build: Build = student.build,
) -> None:
    """Train a student on an artefact's labels, on a device that is not there.

    One epoch, and another for what methods do between two. Loading may wait for the device,
    an epoch may not.

    Args:
        artefact: a folder that the method saved.
        task: as a student's, on the CPU; in bf16 if its `compute` says so.
        network: the student's.
        build: what makes the student of it.

    Raises:
        DeviceFault: tensors of the CPU and the device meet, or the epoch waits for the device.
    """
    with FakeCuda() as mode:
        there = on_cuda(task)
        # Loading may look at the images, whose numbers are only here.
        source = method.load(artefact, replace(there, images=task.images))
        source.task = there
        learner = build(network, source, 0).train()
        recipe = Recipe("fake", epochs=2, batch_size=task.plan.batch_size)
        training = Training(learner, student.optimisation(recipe, source), "fake")
        losses = student.losses_of(learner, source)
        mode.hurried = True
        for epoch in range(recipe.epochs):
            training.descend(losses(epoch))


def _on_cuda(value: Any) -> bool:
    """Whether a value is, or names, something of the fake device."""
    if isinstance(value, torch.device):
        return value.type == "cuda"
    return isinstance(value, FakeTensor)


def _lowered(value: Any) -> Any:
    if isinstance(value, FakeTensor) and value.dtype == torch.float32:
        return value.to(torch.bfloat16)
    return value


def _fault(func: Any, what: str) -> DeviceFault:
    """That `func` does what it should not, with the line that asked for it."""
    frames = [f for f in traceback.extract_stack() if not _of_torch(Path(f.filename).resolve())]
    last = frames[-1]
    return DeviceFault(
        f"{last.filename}, line {last.lineno}, in {last.name}: `{last.line}` {what} ({func})."
    )


def _of_torch(file: Path) -> bool:
    return file == HERE or TORCH in file.parents
