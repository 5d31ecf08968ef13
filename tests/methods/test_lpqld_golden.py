"""LPQLD's objective beside the released code's, executed over 300 epochs on stored inputs."""

import numpy as np
import pytest
import torch

from benchmark.core.device import choose
from benchmark.data import recipes
from benchmark.data.images import ResidentImages
from benchmark.data.recipe_source import RecipeSetting
from benchmark.data.views import ViewPlan
from benchmark.labels.task import LabelTask
from benchmark.methods.lpqld import LPQLD, coding_of
from benchmark.methods.lpqld.coding import CodedLabels, CodedWriter
from benchmark.methods.lpqld.options import Options
from benchmark.methods.lpqld.pool import PlannedViews


def stored(tmp_path, recipe, teacher, k):
    """Labels of two batches, as the recipe's students use them."""
    batches, size, classes = teacher.shape
    images = ResidentImages(
        torch.zeros(batches * size, 1, 8, 8, dtype=torch.uint8),
        torch.arange(batches * size),
        [f"class {i}" for i in range(classes)],
    )
    made = recipes.make(recipe, RecipeSetting(1000, 10, 224))
    plan = ViewPlan(0, len(images), 8, size, made.epochs, made.augmentation)
    task = LabelTask(images, plan, made.objective, choose("cpu", "fp32"), 0, (0.5,), (0.5,))
    options = Options(batches=batches, k=k)
    writer = CodedWriter(coding_of(options, task), tmp_path)
    for logits in teacher:
        writer.add(torch.from_numpy(logits))
    parts = {name: part[:] for name, part in writer.labels().parts.items()}
    labels = CodedLabels(coding_of(options, task), parts)
    return LPQLD(task, options, PlannedViews(plan, range(batches)), labels)


@pytest.mark.parametrize("recipe", ["imagenet1k", "imagenet21k"])
def test_temperatures_losses_and_gradients_of_the_released_code(tmp_path, golden, recipe):
    there = golden(f"lpqld_{recipe}")
    teacher, epochs = there["teacher_logits"], int(there["epochs"])
    source = stored(tmp_path, recipe, teacher, int(there["k"]))
    for epoch in range(epochs):
        assert source.temperature(epoch) == pytest.approx(there["label_temperature"][epoch])
        for batch, noise in enumerate(there["noise"]):
            views = source.stored.batch(batch)
            student = noise * (1 + 3 * epoch / epochs) + 0.6 * (epoch / epochs) * teacher[batch]
            logits = torch.from_numpy(student).float().requires_grad_()
            loss = source.loss(logits, source.targets(views, logits, epoch), views, epoch)
            assert loss.item() == pytest.approx(there["loss"][epoch, batch], rel=1e-5)
            assert float(source.training_state["temperature"]) == pytest.approx(
                there["student_temperature"][epoch]
            )
            if f"gradient.{epoch}" in there:
                loss.backward()
                expected = there[f"gradient.{epoch}"][batch]
                assert logits.grad is not None
                close = np.abs(logits.grad.numpy() - expected).max() / np.abs(expected).max()
                assert close < 1e-5
