from dataclasses import replace

import pytest
import torch
from tiny import NETWORK, tiny_task
from variants import VARIANTS, fitted, label

from benchmark import registry
from benchmark.fake_cuda import CUDA, DeviceFault, fake_cuda, rehearse

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="the GPU itself is at hand")


@pytest.fixture
def task(tmp_path):
    task = tiny_task(tmp_path / "scratch")
    return replace(task, weak=lambda: [task.teacher])


@pytest.mark.parametrize(("name", "options"), VARIANTS, ids=label)
def test_a_student_of_every_method_trains_without_waiting(name, options, task, tmp_path):
    (tmp_path / "artefact").mkdir()
    fitted(name, options, task).save(tmp_path / "artefact")
    for bf16 in (False, True):
        rehearse(registry.method(name), tmp_path / "artefact", task, NETWORK, bf16)


@pytest.mark.parametrize(
    "fault",
    [
        lambda there, here: there + here,
        lambda there, here: there.sum().item(),
        lambda there, here: bool(there.sum()),
        lambda there, here: there.cpu(),
        lambda there, here: there.tolist(),
        lambda there, here: there.numpy(),
        lambda there, here: there[there > 0],
        lambda there, here: here[there.long()],
        lambda there, here: there[here.long()],
        lambda there, here: here.copy_(there),
        lambda there, here: there.copy_(here),
        lambda there, here: here.to("cuda"),
        lambda there, here: torch.tensor([1.0], device=CUDA),
        lambda there, here: torch.linalg.cholesky(there @ there.T),
    ],
)
def test_what_mixes_devices_or_waits_is_told_with_its_line(fault):
    with pytest.raises(DeviceFault, match=r"test_fake_cuda\.py:\d+: lambda there, here"):
        with fake_cuda() as gpu:
            here = torch.ones(3, 3)
            there = here.to(CUDA)
            gpu.copies_may_wait = False
            fault(there, here)


def test_what_neither_mixes_nor_waits_passes():
    with fake_cuda() as gpu:
        here = torch.ones(3)
        there = here.to(CUDA)
        gpu.copies_may_wait = False
        moved = here.to(CUDA, non_blocking=True) + there * torch.tensor(2.0)
        assert moved.device.type == "cuda"
        assert here.sum().item() == 3
        assert torch.where(moved > 0, moved, 0.0).cumsum(0).shape == (3,)
        with torch.autocast("cuda", torch.bfloat16):
            assert torch.nn.Linear(3, 4).to(CUDA)(there).dtype == torch.bfloat16
    assert torch.tensor([1.0]).item() == 1
