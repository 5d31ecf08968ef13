"""What a record may say, and how older ones are read."""

import copy
import json
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import record, world

from benchmark.core.errors import UserError
from benchmark.records.environment import LIBRARIES
from benchmark.records.ledger import Ledger
from benchmark.records.record import Storage, as_json, pack_bits, unpack_bits, world_digest
from benchmark.records.store import parse
from benchmark.records.upgrade import upgrade


def changed(*path: str, to: Any) -> Any:
    """A record with one value changed, or gone."""
    made = copy.deepcopy(record("hard"))
    inner = made
    for name in path[:-1]:
        inner = inner[name]
    if to is None:
        del inner[path[-1]]
    else:
        inner[path[-1]] = to
    return made


def old(**changes: Any) -> Any:
    """A record as schema 1 had it."""
    made = copy.deepcopy(record("hard")) | {"schema": 1}
    del made["roles"], made["plugins"], made["cell"]["source"], made["cell"]["draw"]
    for now, then in (("lr", "rate"), ("schedule", "course"), ("evaluator", "tester")):
        made["recipe"][then] = made["recipe"].pop(now)
    del made["world"], made["precision"]
    made["throughput"] |= {"hardware": "CPU, 2 threads", "precision": "bf16"}
    made["environment"] |= {"cpu": "AMD EPYC", "python": "3.11.7", "platform": "Linux x86_64"}
    made["environment"] |= dict.fromkeys(LIBRARIES, "1.0")
    return made | changes


def raw(made: Any) -> bytes:
    return json.dumps(made).encode()


@given(st.lists(st.booleans(), max_size=70))
def test_bits_come_back(bits):
    text = pack_bits(np.array(bits, bool))
    assert unpack_bits(text, len(bits)).tolist() == bits


def test_eight_bits_a_byte_first_one_highest():
    assert (
        pack_bits(np.array([True, False, False, False, False, False, False, True, True])) == "gYA="
    )


def test_a_whole_record_comes_back():
    assert parse(raw(record("hard"))) == record("hard")


def test_the_ledgers_columns_are_those_of_records():
    pictures = ["images_png", "images_jpeg"]
    assert [*Storage.__annotations__] == [*Ledger().as_dict(), "images", "soft", *pictures]


def test_a_record_from_before_pictures_were_counted_stays_without():
    assert parse(raw(record("hard")))["storage"].get("images_png") == 6_000
    before = changed("storage", "images_png", to=None)
    assert "images_png" not in parse(raw(before))["storage"]
    oldest = old()
    del oldest["storage"]["images_png"], oldest["storage"]["images_jpeg"]
    assert not {"images_png", "images_jpeg"} & {*parse(raw(oldest))["storage"]}


@pytest.mark.parametrize(
    ("made", "problem"),
    [
        (changed("prior", to=None), "prior"),
        (changed("result", "accuracy", to=None), "result.accuracy"),
        (changed("result", "note", to=1), "result.note"),
        (changed("on_protocol", to=1), "on_protocol"),
        (changed("key", to="0" * 23), "key"),
        (changed("key", to="../" + "0" * 21), "key"),
        (changed("cell", "seed", to=True), "cell.seed"),
        (changed("cell", "seed", to=0.5), "cell.seed"),
        (changed("cell", "seed", to=-1), "cell.seed"),
        (changed("cell", "ipc", to=2**40), "cell.ipc"),
        (changed("cell", "images", to=[1]), "cell.images"),
        (changed("cell", "method", to="x" * 5000), "cell.method"),
        (changed("cell", "method", to=""), "cell.method"),
        (changed("prior", to=7), "prior"),
        (changed("result", to=[]), "result"),
        (changed("recipe", to=[]), "recipe"),
        (changed("result", "accuracy", to="0.5"), "result.accuracy"),
        (changed("result", "accuracy", to=1.5), "result.accuracy"),
        (changed("result", "accuracy", to=-0.1), "result.accuracy"),
        (changed("result", "test_images", to=0), "result.test_images"),
        (changed("result", "test_images", to=10**12), "result.test_images"),
        (changed("result", "train_loss", to=3), "result.train_loss"),
        (changed("result", "train_loss", to=["x"] * 50), "result.train_loss"),
        (changed("result", "train_loss", to=[]), "result.train_loss"),
        (changed("storage", "total", to="1"), "storage.total"),
        (changed("storage", "soft", to=0), "storage.soft"),
        (changed("storage", "soft", to=None), "storage.soft"),
        (changed("storage", "prior", to=-1), "storage.prior"),
        (changed("storage", "spare", to=1), "storage.spare"),
        (changed("throughput", "batch", to=0), "throughput.batch"),
        (changed("throughput", "seconds_step", to=[0.0, 0.1]), "throughput.seconds_step"),
        (changed("throughput", "seconds_targets", to=[]), "throughput.seconds_targets"),
        (changed("inputs", "teacher_accuracy", to=95.0), "inputs.teacher_accuracy"),
        (changed("inputs", "test", to=None), "inputs.test"),
        (changed("inputs", "similarity", to="high"), "inputs.similarity"),
        (changed("world", "threads", to=0), "world.threads"),
        (changed("world", "python", to=None), "world.python"),
        (changed("world", "libraries", "torch", to=2), "world.libraries.torch"),
        (changed("environment", "commit", to=7), "environment.commit"),
        (changed("precision", to=None), "precision"),
        (changed("schema", to=4), "schema 4, this labelbench reads 1 to 3"),
        (changed("schema", to="2"), "schema '2', this labelbench reads 1 to 3"),
        (changed("schema", to=True), "schema True, this labelbench reads 1 to 3"),
        (changed("schema", to="x" * 9999), "this labelbench reads 1 to 3"),
        (changed("recipe", "epochs", to="x" * 9999), "has 50 losses, trained were 'xx"),
        (changed("result", "correct", to="%%%"), "result.correct does not hold 100 bits"),
        (changed("result", "correct", to="AAAA"), "result.correct does not hold 100 bits"),
        (
            changed("result", "accuracy", to=0.9999),
            "result.accuracy is 0.9999, but 50 of 100 images were right",
        ),
        (changed("storage", "weights", to=1), "storage.total is 500, but its parts add up to 501"),
        (changed("recipe", "epochs", to=61), "train_loss has 50 losses, trained were 61 epochs"),
        (changed("inputs", "epochs", to=7), "train_loss has 50 losses, trained were 7 epochs"),
        (
            changed("throughput", "seconds_step", to=[0.1]),
            "throughput has unlike numbers of repeats",
        ),
        (changed("world", "threads", to=4), "world.threads is 4 on device 'cuda'"),
        (changed("world", "device", to="cpu"), "world.threads is None on device 'cpu'"),
        (changed("world", "libraries", to={"numpy": "2"}), "world.libraries does not name torch"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_makes_a_record_wrong(made, problem):
    with pytest.raises(UserError) as caught:
        parse(raw(made))
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize("path", [("result", "seconds_fit"), ("options", "lr")])
def test_numbers_are_finite_wherever_they_stand(path, value):
    text = json.dumps(changed(*path, to=12345)).replace("12345", value)
    with pytest.raises(UserError):
        parse(text.encode())


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"3",
        b'{"key": "x"}',
        b'{"schema": 2, "key": "x"',
        b"\x00",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"schema": 2, "schema": 2}',
        b'{"schema": ' + b"9" * 10_000 + b"}",
        b'{"schema": 1}',
        b'{"schema": 1, "throughput": [], "environment": 3}',
        b'{"schema": 2, "key": "\\ud800"}',
    ],
    ids=range(13),
)
def test_what_is_no_record(text):
    with pytest.raises(UserError) as caught:
        parse(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_a_recipe_of_steps_says_no_epochs():
    made = record("ld", recipe={"name": "ld", "epochs": 0, "steps": 1000}, on_protocol=False)
    assert parse(raw(made)) == made
    made["inputs"]["epochs"] = len(made["result"]["train_loss"])
    assert parse(raw(made)) == made


def test_schema_1_becomes_schema_3_and_keeps_all():
    before = old()
    made = upgrade(before)
    assert made["world"] == {
        "device": "cpu",
        "hardware": "AMD EPYC",
        "threads": 2,
        "python": "3.11.7",
        "libraries": dict.fromkeys(LIBRARIES, "1.0"),
        "platform": "Linux x86_64",
    }
    assert made["precision"] == "bf16"
    assert made["environment"] == {"labelbench": "0.1.0", "commit": "0123456789ab"}
    assert made["throughput"] == record("hard")["throughput"]
    for name in ("key", "on_protocol", "options", "inputs", "storage", "result"):
        assert made[name] == before[name]
    for name in ("cell", "recipe", "roles", "plugins"):
        assert made[name] == record("hard")[name]
    assert before == old()
    assert parse(raw(before)) == made


def test_schema_1_named_a_gpu_by_its_name():
    before = old()
    before["throughput"]["hardware"] = "NVIDIA H100"
    found = parse(raw(before))["world"]
    assert (found["device"], found["hardware"], found["threads"]) == ("cuda", "NVIDIA H100", None)


@pytest.mark.parametrize("name", ["cpu", "python", "platform", "labelbench", "commit", "torch"])
def test_schema_1_without_its_world_is_refused(name):
    before = old()
    del before["environment"][name]
    with pytest.raises(UserError, match=name):
        parse(raw(before))


def test_what_was_wrong_in_schema_1_stays_wrong():
    before = old()
    before["result"]["accuracy"] = 0.9999
    with pytest.raises(UserError, match=r"0\.9999, but 50 of 100"):
        parse(raw(before))


def test_worlds_are_told_apart_by_all_that_they_are():
    one = world()
    others = [
        world(threads=2, device="cpu"),
        world(hardware="Other"),
        world(torch="2.0"),
        world(python="3.12.2"),
        world(platform="Darwin arm64"),
    ]
    assert len({world_digest(w) for w in [one, *others]}) == 6
    assert world_digest(dict(reversed(one.items()))) == world_digest(one)  # type: ignore[arg-type]


def test_a_diverged_students_losses_are_null():
    made = record("hard")
    losses = [float("nan"), float("inf"), *made["result"]["train_loss"][2:]]
    made["result"]["train_loss"] = as_json(losses)
    assert made["result"]["train_loss"][:3] == [None, None, losses[2]]
    assert parse(raw(made)) == made
    assert as_json({"a": (1, [float("-inf")], "x", None, True)}) == {
        "a": [1, [None], "x", None, True]
    }


def test_what_measures_writes_such_a_world():
    import torch

    from benchmark.core.device import choose
    from benchmark.records.environment import environment
    from benchmark.records.environment import world as here

    compute = choose("cpu", "fp32")
    made = record("hard", world=here(compute), environment=environment())
    assert parse(raw(made)) == made
    assert made["world"]["threads"] == torch.get_num_threads()
    assert asdict(compute)["bf16"] is False


def test_schema_2_called_things_otherwise():
    before = upgrade_to_2(old())
    before["cell"] |= {"images": "random[draw=3]", "method": "teacher[weights=int8]"}
    before["options"] = {"label_rate": 0.1, "epochs": 3}
    before["inputs"]["set"] = {"recipe.rate": "0.01", "hello.rank": "4"}
    made = upgrade(before)
    assert (made["cell"]["source"], made["cell"]["draw"]) == ("random", 3)
    assert made["roles"] == {"control": "ceiling", "baseline": True}
    assert made["options"] == {"label_lr": 0.1, "epochs": 3}
    assert made["inputs"]["set"] == {"recipe.lr": "0.01", "hello.rank": "4"}
    assert parse(raw(before)) == made


@pytest.mark.parametrize(
    ("images", "source", "draw"),
    [
        ("random[draw=12]", "random", 12),
        ("foreign[dataset=a,draw=1]", "foreign[dataset=a]", 1),
        ("random[draw=1,x=2]", "random[x=2]", 1),
        ("random[redraw=1]", "random[redraw=1]", 0),
        ("rded", "rded", 0),
    ],
)
def test_draws_were_told_by_their_option(images, source, draw):
    before = upgrade_to_2(old())
    before["cell"]["images"] = images
    made = upgrade(before)["cell"]
    assert (made["source"], made["draw"]) == (source, draw)


def upgrade_to_2(before: Any) -> Any:
    """A record as schema 2 had it."""
    made = upgrade(before)
    return (
        before
        | {n: made[n] for n in ("world", "precision", "environment", "throughput")}
        | {"schema": 2}
    )


def test_how_a_batch_was_divided_comes_back():
    """Among processes, among parts of a batch, and a group of students among stacks."""
    made = copy.deepcopy(record("hard"))
    made["result"]["micro_batches"] = 4
    made["result"]["joint"] = {"processes": 2, "batch_norm": "synchronised"}
    made["result"]["batched"] = {"students": 5, "stacked": True, "jobs": 1, "stacks": 3}
    made["throughput"]["devices"] = 2
    assert parse(raw(made)) == made
    made["throughput"]["devices"] = 3
    with pytest.raises(UserError, match="throughput is of 3 devices, but 2 trained the student"):
        parse(raw(made))
    made["result"]["joint"]["batch_norm"] = "per device"
    with pytest.raises(UserError, match=r"result\.joint\.batch_norm"):
        parse(raw(made))
