"""What all methods that take byte budgets have in common: artefacts are as large as foretold."""

from dataclasses import replace

import pytest
from tiny import tiny_task  # type: ignore[import-not-found]

from benchmark.core.errors import UserError
from benchmark.core.options import build
from benchmark.data.recipe import Augmentation, Objective
from benchmark.labels import artefact, container, view_kernel
from benchmark.labels.contract import method

SPARE = 40  # bytes that a container may take less than was set aside for it
METHODS = {
    "transform": {},
    "transform[form=function]": {"form": "function"},
    "label_function": {},
    "lpqld": {},
    "lpqld[values=int8,select=entropy]": {"values": "int8", "select": "entropy"},
    "hald": {},
    "gift": {},
    "vqae": {"steps": 2, "epochs": 1},
    "vqae[values=fp16]": {"values": "fp16", "steps": 2, "epochs": 1},
    "score": {},
    "infer": {},
    "ladd": {},
    "label_solve": {"network": "convnet-d2-w8", "held_out": 20, "draws": 1},
}


@pytest.fixture
def foretold(monkeypatch):
    """What methods are told that containers take."""
    monkeypatch.setattr(view_kernel, "VIEWS", 100)
    monkeypatch.setattr(view_kernel, "FEATURES", 50)
    found, whole = [], artefact.container_bytes

    def asked(*arguments):
        found.append(whole(*arguments) + container.SPARE)
        return found[-1] - container.SPARE

    monkeypatch.setattr(artefact, "container_bytes", asked)
    return found


@pytest.fixture(params=["plain", "wordy"])
def task(tmp_path, request):
    """Forty epochs; or a recipe of which a manifest has much to say."""
    made = tiny_task(tmp_path / "scratch", epochs=40)
    if request.param == "plain":
        return made
    plan = replace(
        made.plan,
        seed=2**64 - 3,
        augmentation=Augmentation((0.123456789, 0.987654321), (0.76543, 1.2345), mix="mixup"),
    )
    objective = Objective(temperature=12.3456789, label_scale=0.87654321, rescale=True)
    return replace(made, plan=plan, objective=objective, mean=(0.4321987,), std=(0.2987654,))


@pytest.mark.parametrize("budget", [700, 1500])
@pytest.mark.parametrize("name", METHODS)
def test_a_budget_is_met_and_what_was_set_aside_is_used(task, foretold, name, budget):
    cls = method(name.partition("[")[0])
    options = cls.resolve_options(build(cls.Options, METHODS[name], name), task.shape, budget)
    ledger = cls.fit(task, options).storage()
    assert 0 < ledger.total <= budget
    assert min(abs(said - ledger.container) for said in foretold) <= SPARE
    assert all(said >= ledger.container for said in foretold if name.startswith(("hald", "gift")))


@pytest.mark.parametrize("name", METHODS)
def test_a_refusal_names_what_is_enough(task, name):
    cls = method(name.partition("[")[0])
    asked = build(cls.Options, METHODS[name], name)
    with pytest.raises(UserError, match="the least it can take") as refused:
        cls.resolve_options(
            replace(asked, form="views") if name == "transform" else asked, task.shape, 50
        )
    words = str(refused.value).replace(",", "").split("the least it can take")[1].split()
    least = next(int(word) for word in words if word.isdigit())
    assert 100 < least < 700
    cls.resolve_options(asked, task.shape, least)
    cls.resolve_options(asked, task.shape, least + 7)
