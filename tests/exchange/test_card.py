"""The card of a folder given away: what it says is so, and the code in it runs."""

import json
import re
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import forked
import pytest
import torch
import yaml
from tiny import DESCRIBED, NETWORK, pictures, recipe_of, run_main, run_tiny, tiny_task

from benchmark import open_labels
from benchmark.core import plugins
from benchmark.core.errors import UserError
from benchmark.data.images import ResidentImages
from benchmark.data.recipe import Augmentation, Objective, Recipe
from benchmark.exchange.card import Told
from benchmark.exchange.plain_reader import candidate
from benchmark.exchange.shipping import complete
from benchmark.labels import artefact, packed, student
from benchmark.methods.gift import GIFT
from benchmark.methods.hard import Hard
from benchmark.methods.ld import LD
from benchmark.methods.lpqld import LPQLD
from benchmark.methods.smoothed import Smoothed
from benchmark.methods.soft import Soft
from benchmark.records.statistics import mean_interval

ROOT = Path(__file__).parents[2]
EXPERT = "expert[steps=4,held_out=60]"


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A work folder with the tiny grid's records of some methods, two seeds each."""
    folder = tmp_path_factory.mktemp("work")
    options = ["--set", "recipe.batch_size=8", "--set", "teacher.epochs=3", "--seeds", "2"]
    run_tiny(folder, "--methods", f"hard,soft,{EXPERT},teacher", *options)
    return folder


def records_of(work, method):
    told = [(path, json.loads(path.read_text())) for path in sorted((work / "records").iterdir())]
    return [(path, record) for path, record in told if record["cell"]["method"].startswith(method)]


def ship(work, method, to, *options):
    (path, record), *_ = records_of(work, method)
    code, _, err = run_main("ship", path, to, *options)  # of the work folder that it lies in
    assert code == 0, err
    return (to / "README.md").read_text("utf-8"), record


def blocks(text):
    """The code of a card: a student, its optimiser, a loop, and the reader where there is one."""
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def front(text):
    _, told, _ = text.split("---\n", 2)
    return yaml.safe_load(told)


def made(tmp_path, source, images=None, recipe=None):
    """The card of labels that were given away without a record, and their folder."""
    folder = tmp_path / "given"
    (folder / "labels").mkdir(parents=True)
    source.save(folder / "labels")
    told = Told(asdict(recipe or recipe_of("quick")))
    complete(folder, images or source.task.images, told)
    return (folder / "README.md").read_text("utf-8"), folder


def fitted(tmp_path, method, objective=None, images=None, seed=0, options=None, **drawn):
    """Labels of a method for a tiny task with another objective, images, or way of drawing views.

    Views are cropped, mirrored and mixed by CutMix unless `drawn` says otherwise.
    """
    task = tiny_task(tmp_path / "scratch", epochs=3)
    plan = replace(task.plan, seed=seed, augmentation=Augmentation(**drawn))
    task = replace(task, plan=plan, objective=objective or Objective())
    if images is not None:
        channels = images.channels
        plan = replace(plan, resolution=images.resolution)
        task = replace(
            task, images=images, plan=plan, mean=(0.4,) * channels, std=(0.3,) * channels
        )
    if method is LD:
        shares = torch.rand(20, 10, generator=torch.Generator().manual_seed(0)) + 0.01
        return LD(task, LD.Options(**options or {}), shares / shares.sum(1, keepdim=True))
    settled = method.resolve_options(method.Options(**options or {}), task.shape, None)
    return method.fit(task, settled)


def colours() -> ResidentImages:
    pixels = torch.randint(0, 256, (20, 3, 8, 8), generator=torch.Generator().manual_seed(3))
    return ResidentImages(pixels.to(torch.uint8), torch.arange(20) % 10, list("abcdefghij"))


def test_its_front_matter_is_the_hubs(work, tmp_path):
    text, record = ship(work, "soft", tmp_path / "given", "--license", "cc-by-4.0")
    told = front(text)
    assert told["license"] == "cc-by-4.0"
    assert told["task_categories"] == ["image-classification"]
    assert told["tags"][:4] == ["dataset-distillation", "soft-labels", "labelbench", "ipc-2"]
    assert "arxiv:2306.13092" in told["tags"]  # SRe2L
    assert told["configs"] == [
        {
            "config_name": "images",
            "data_files": [{"split": "train", "path": "images/*.parquet"}],
        }
    ]
    (info,) = told["dataset_info"]
    assert [feature["name"] for feature in info["features"]] == ["image", "label"]
    names = info["features"][1]["dtype"]["class_label"]["names"]
    assert [names[str(number)] for number in range(3)] == ["zero", "one", "two"]
    assert len(names) == 10
    assert f"`{record['cell']['student']}`" in text
    assert "`cc-by-4.0`, says whoever gave this away" in text


def test_without_a_licence_it_says_so(work, tmp_path):
    text, _ = ship(work, "hard", tmp_path / "given")
    assert front(text)["license"] == "unknown"
    assert "No licence was named" in text
    (path, _), *_ = records_of(work, "hard")
    code, _, err = run_main("ship", path, tmp_path / "other", "--work", work, "--license", "a\nb")
    assert code == 2
    assert "named as the Hub does" in err
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("method", ["hard", "soft", "expert", "teacher"])
def test_its_numbers_are_those_of_files_and_records(work, tmp_path, method):
    text, record = ship(work, method, tmp_path / "given")
    sizes = {
        part: sum(file.stat().st_size for file in (tmp_path / "given" / part).iterdir())
        for part in ("labels", "images")
    }
    assert sizes["labels"] == record["storage"]["total"]
    assert f"| label bytes | {sizes['labels']:,} |" in text
    assert f"| image bytes | {sizes['images']:,}, as PNG in Parquet |" in text
    assert f"| bytes in all | {sum(sizes.values()):,}, without this card |" in text
    assert f"{100 * record['inputs']['teacher_accuracy']:.2f} % of the test images" in text
    values = [each["result"]["accuracy"] for _, each in records_of(work, method)]
    mean, half = mean_interval(values)
    assert half is not None
    row = f"| `convnet-d2-w8` | {100 * mean:.2f} | {100 * half:.2f} | 2 | "
    assert row in text
    assert "With n = 1" not in text
    manifest = artefact.read_manifest(tmp_path / "given" / "labels")
    assert f"the mean {manifest['mean'][0]:.6g}, over the standard" in text
    assert "2 epochs of 3 batches of up to 8 views" in text


def test_one_record_gives_no_interval(work, tmp_path):
    own = tmp_path / "own"
    shutil.copytree(work, own)
    (path, record), (other, _) = records_of(own, "hard")
    other.unlink()
    told = json.loads(path.read_text())
    text, _ = ship(own, "hard", tmp_path / "given")
    accuracy = 100 * record["result"]["accuracy"]
    assert f"| {accuracy:.2f} | no interval | 1 | {told['precision']} |" in text
    assert "With n = 1 there is one measurement and no interval" in text


def test_epochs_that_a_pilot_chose_are_the_loops(work, tmp_path):
    own = tmp_path / "own"
    shutil.copytree(work, own)
    for path, record in records_of(own, "hard"):
        record["inputs"]["epochs"] = 1
        record["result"]["train_loss"] = record["result"]["train_loss"][:1]
        path.write_text(json.dumps(record))
    text, _ = ship(own, "hard", tmp_path / "given")
    assert "1 epochs, as a pilot student chose, of the 2 that there are labels for" in text
    assert "epochs, batches_an_epoch = 1, 3" in text


def test_a_card_names_nobodys_folders(work, tmp_path):
    own = tmp_path / "own"
    shutil.copytree(work, own)
    for path, record in records_of(own, "hard"):
        record["cell"] |= {
            "images": "path:/home/somebody/MINE",
            "source": "path:/home/somebody/MINE",
            "dataset": "folder:~/data/theirs",
            "teacher": "resnet18:../files/teacher.safetensors",
        }
        path.write_text(json.dumps(record))
    text, _ = ship(own, "hard", tmp_path / "given")
    for shown in ("`path:MINE`", "`folder:theirs`", "`resnet18:teacher.safetensors`"):
        assert shown in text
    assert "somebody" not in text
    assert "data/" not in text


def test_names_that_mean_something_in_yaml_and_markdown(tmp_path):
    names = ['a "b"', "c\\d", "`e`|f", "- g: #h", "i\nj", "null", "{k}", "\u2028l\x85", "é🦉", " "]
    images = ResidentImages(pictures(20).pixels, pictures(20).labels, names)
    text, folder = made(tmp_path, fitted(tmp_path, Hard, images=images))
    (info,) = front(text)["dataset_info"]
    told = info["features"][1]["dtype"]["class_label"]["names"]
    assert [told[str(number)] for number in range(10)] == names
    assert open_labels(folder, device="cpu").class_names == tuple(names)
    (line,) = [line for line in text.splitlines() if line.startswith("Classes, by label: ")]
    assert line.count("`") == 2 * len(names)


CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "hard": (Hard, {}),
    "hard, whole images": (Hard, {"crop_scale": (1.0, 1.0), "crop_ratio": (1.0, 1.0)}),
    "hard, wide crops": (Hard, {"crop_scale": (0.9, 1.0), "crop_ratio": (0.2, 4.0)}),
    "hard, colours, no mix": (Hard, {"images": colours(), "mix": "none", "seed": 2**64 - 1}),
    "hard and its cross-entropy": (Hard, {"objective": Objective(ce_weight=0.5)}),
    "smoothed, mixup": (Smoothed, {"options": {"amount": 0.2}, "mix": "mixup", "mix_alpha": 0.8}),
    "soft": (Soft, {}),
    "soft, mixup": (Soft, {"mix": "mixup", "seed": 7}),
    "soft, no mix, mse": (Soft, {"objective": Objective(loss="mse"), "mix": "none", "flip": 0.0}),
    "soft, more losses": (
        Soft,
        {"objective": Objective("kl", 4.0, label_scale=0.8, rescale=True, ce_weight=0.1)},
    ),
    "learned": (LD, {}),
    "learned, bytes": (LD, {"options": {"form": "int8"}}),
    "learned, three classes": (LD, {"options": {"form": "top-k", "k": 3}, "mix": "mixup"}),
}
RECIPES = [
    replace(recipe_of("quick"), epochs=3, batch_size=8),
    replace(recipe_of("quick"), epochs=3, batch_size=8, schedule="to-half", warmup=0.3),
    Recipe("own", 3, 8, "sgd", lr=0.1, schedule="quarters"),
    Recipe("own", 3, 8, lr=0.01, schedule="constant"),
]


@pytest.mark.parametrize("case", CASES)
def test_its_own_reader_trains_the_harness_student(tmp_path, monkeypatch, case):
    """The same pixels, targets and weights, to the bit, from the files alone."""
    method, how = CASES[case]
    source = fitted(tmp_path, method, **how)
    recipe = RECIPES[[*CASES].index(case) % len(RECIPES)]
    text, folder = made(tmp_path, source, recipe=recipe)
    learner = student.build(NETWORK, source, 3)
    student.train(learner, source, recipe, tmp_path / "checkpoint", "harness")

    _, optimiser, loop, reader = blocks(text)
    assert "benchmark" not in reader + optimiser
    assert len([line for line in reader.splitlines() if line.strip()]) <= 95
    monkeypatch.chdir(folder)
    for code in (loop, reader):
        network = student.untrained(NETWORK, source, 3).train()
        names: dict[str, Any] = {"student": network, "device": "cpu"}
        exec(optimiser, names)
        names["open_labels"] = open_labels
        exec(code, names)
        for name, weight in learner.network.state_dict().items():
            assert torch.equal(weight, network.state_dict()[name]), name
    labels = open_labels(".", device="cpu")
    for epoch in (0, 2):
        for (images, targets), own in zip(
            labels.epoch(epoch), names["batches"](epoch), strict=True
        ):
            assert torch.equal(images, own[0])
            assert torch.equal(targets.rows, own[1])


def test_its_reader_reads_labels_that_lie_in_several_files(tmp_path, monkeypatch):
    monkeypatch.setattr(packed, "MOST_BYTES", 0)
    monkeypatch.setattr(artefact, "SHARD_BYTES", 500)
    text, folder = made(tmp_path, fitted(tmp_path, Soft))
    assert len([*(folder / "labels").glob("*.safetensors")]) == 3
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {"epochs": 0}
    exec(blocks(text)[3], names)
    for (_, targets), own in zip(
        open_labels(".", device="cpu").epoch(2), names["batches"](2), strict=True
    ):
        assert torch.equal(targets.rows, own[1])


@pytest.mark.parametrize(
    ("method", "how", "said"),
    [
        (LPQLD, {"options": {"keep": 0.5, "k": 3}}, "they are pruned, quantised or predicted"),
        (GIFT, {}, "a loss or views of their own"),
        (Hard, {"cutout": 0.5, "mix": "none"}, "the views have Cutout"),
    ],
)
def test_where_a_few_lines_would_not_do_it_says_so(tmp_path, method, how, said):
    text, folder = made(tmp_path, fitted(tmp_path, method, **how))
    assert len(blocks(text)) == 3
    assert "There is no short reader without labelbench for these: " in text
    assert said in text
    assert open_labels(folder, device="cpu").epochs == 3


def test_the_documentation_names_the_methods_that_have_a_reader():

    def described(name: str) -> Any:
        return {**DESCRIBED, "tensors": {}, "method": name}

    found = [name for name in plugins.found(plugins.METHODS) if candidate(described(name))]
    text = (ROOT / "docs" / "exchange.md").read_text("utf-8")
    (told,) = re.findall(r"Where labels belong to .*? the card also holds a reader", text)
    assert sorted(re.findall("`(.*?)`", told)) == sorted([*found, "soft"])
    assert candidate(described("absent")) is None


def test_a_reader_that_would_read_something_else_is_not_given(tmp_path, monkeypatch):
    """What a method's targets are is asked, not believed."""
    monkeypatch.setattr(
        Hard, "targets", lambda self, views, images, _: self.task.one_hot[views.index]
    )
    text, _ = made(tmp_path, fitted(tmp_path, Hard))
    assert len(blocks(text)) == 3


def test_its_code_runs_in_a_fresh_process_far_from_the_work_folder(work, tmp_path):
    """As it stands, with torchvision's network: once by labelbench, once by its own reader."""
    own = tmp_path / "own"
    shutil.copytree(work, own)
    text, _ = ship(own, "soft", tmp_path / "given")
    shutil.rmtree(own)
    elsewhere = tmp_path / "else" / "where"
    elsewhere.parent.mkdir()
    shutil.move(tmp_path / "given", elsewhere)
    build, optimiser, loop, reader = blocks(text)
    shown = "\nprint(sum(w.double().abs().sum().item() for w in student.parameters()))\n"
    seeded = "import torch\ntorch.manual_seed(0)\n"
    far = (
        "import sys\nfor name in ['benchmark', *sys.modules]:\n"
        "    if name.split('.')[0] == 'benchmark':\n        sys.modules[name] = None\n"
    )
    guess = (
        "from PIL import Image\nprint(predict([Image.new('L', (20, 9)), torch.ones(1, 8, 8)]))\n"
    )
    results = []
    for code in (loop + shown + guess, far + reader + shown):
        script = "\n".join([seeded, build, optimiser, code])
        done = forked.run(script, cwd=elsewhere)
        assert done.returncode == 0, done.stderr
        results.append(done.stdout.splitlines())
    assert results[0][0] == results[1][0]
    assert re.fullmatch(r"tensor\(\[\d, \d\]\)", results[0][1])


def test_a_licence_is_one_word(tmp_path):
    _, folder = made(tmp_path, fitted(tmp_path, Hard))
    shutil.rmtree(folder / "images")
    told = Told(asdict(recipe_of("quick")), licence="MIT License")
    with pytest.raises(UserError, match="named as the Hub does"):
        complete(folder, pictures(20), told)
