"""Benchmarks of networks, run as those of test_speed.py: HeLlO's projector, a student's step."""

import pytest
import torch
import torch.nn.functional as F

from benchmark.methods.hello.projector import Projector
from benchmark.models import networks
from benchmark.models.priors import load_prior
from benchmark.models.training import Optimisation


def test_labels_of_a_projector(benchmark):
    torch.manual_seed(0)
    prior = load_prior("embedded", torch.device("cpu"))
    start = prior.embed_classes([f"class {number}" for number in range(10)], "photo")
    projector = Projector(prior, start, rank=8, map_rank=0, alpha=8.0)
    pixels = torch.rand(50, 3, 32, 32)
    with torch.no_grad():
        expected = projector(pixels)
        projector.merge()
        found = benchmark(projector, pixels)
    assert found.shape == (50, 10)
    assert torch.allclose(found, expected, atol=1e-3)


@pytest.mark.parametrize("name", ["convnet-d3", "convnet-d3-bn"])
def test_a_step_of_a_student(benchmark, name):
    torch.manual_seed(0)
    learner = networks.create(name, 10, 3, 32).train()
    optimiser, rates = Optimisation(10, 100).build(learner)
    pixels, targets = torch.rand(50, 3, 32, 32), torch.rand(50, 10).softmax(1)

    def step():
        loss = F.cross_entropy(learner(pixels), targets)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        rates.step()
        return loss.detach()

    first = F.cross_entropy(learner(pixels), targets).item()
    assert benchmark(step).item() <= first + 1e-6
