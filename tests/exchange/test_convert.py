"""Labels that change hands: what goes out in LPQLD's form comes back the same."""

import re
import shutil
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from tiny import listing, recipe_of, run_main, tiny_task
from torch import nn

from benchmark.core.errors import UserError
from benchmark.data import distilled, recipes
from benchmark.data.images import ResidentImages
from benchmark.data.recipe import Augmentation
from benchmark.data.views import ViewPlan
from benchmark.exchange.convert import import_labels, read_images, verify_labels
from benchmark.exchange.official import OfficialBatch, write_images, write_lpqld
from benchmark.exchange.shipping import open_labels
from benchmark.methods.lpqld import LPQLD
from benchmark.methods.soft import Soft

ROOT = Path(__file__).parents[2]


class Shade(nn.Module):
    """A teacher to whom class c has the shade 25 c."""

    def forward(self, pixels):
        shade = pixels.mean((1, 2, 3), keepdim=True).flatten(1) * 255
        return -((shade - 25 * torch.arange(10)) / 10).square()


def shaded() -> ResidentImages:
    """Two pictures of each class, a little apart from its shade."""
    classes = torch.arange(10).repeat_interleave(2)
    shades = 25 * classes + torch.tensor([0, 3]).repeat(10)
    return ResidentImages(
        shades.byte().view(-1, 1, 1, 1).repeat(1, 1, 8, 8), classes, tuple("abcdefghij")
    )


def ship(tmp_path, method=LPQLD, **options):
    """A shipped folder of labels for twenty tiny pictures; and the source they came from."""
    task = tiny_task(tmp_path / "scratch", epochs=12)
    task = replace(task, images=shaded(), teacher=Shade())
    settled = method.resolve_options(method.Options(**options), task.shape, None)
    source = method.fit(task, settled)
    folder = tmp_path / "shipped"
    for part in ("labels", "images"):
        (folder / part).mkdir(parents=True)
    source.save(folder / "labels")
    distilled.write(folder / "images", task.images)
    return folder, source


def labels(*arguments):
    code, out, err = run_main("labels", *arguments)
    assert code == 0, err
    return out


@pytest.mark.parametrize(
    "options",
    [
        {"keep": 0.5, "k": 3},
        {"keep": 0.5, "quantise": "none"},
        {"keep": 0.5, "quantise": "adaptive"},
        {"keep": 0.5, "quantise": "hard"},
        {"keep": 0.5, "values": "bf16"},
    ],
)
def test_exported_and_imported_again_views_and_targets_are_the_same(tmp_path, options):
    shipped, source = ship(tmp_path, **options)
    labels("export", shipped, tmp_path / "official")
    official = [tmp_path / "official" / part for part in ("labels", "images")]
    schedule = asdict(source.options)["schedule"]
    labels(
        "import", *official, tmp_path / "back", "--recipe", "quick", "--set", f"schedule={schedule}"
    )
    folder = tmp_path / "back"
    back: Any = open_labels(folder / "labels", folder / "images", "cpu").source
    # Class folders are named by number, so that digests differ; pixels and classes do not.
    assert torch.equal(back.task.images.pixels, source.task.images.pixels.cpu())
    assert torch.equal(back.task.images.labels, source.task.images.labels)
    assert back.stored.batches == source.stored.batches
    for (views, logits), (again, returned) in zip(
        source.stored_labels(), back.stored_labels(), strict=True
    ):
        for field in fields(views):
            a, b = getattr(views, field.name), getattr(again, field.name)
            assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b, field.name
        for temperature in (1.0, 20.0):
            both = [(rows / temperature).softmax(1) for rows in (logits, returned)]
            assert torch.equal(*both)


def test_imported_labels_are_a_folder_to_give_away(tmp_path):
    shipped, source = ship(tmp_path, keep=0.5, k=3)
    labels("export", shipped, tmp_path / "official")
    official = [tmp_path / "official" / part for part in ("labels", "images")]
    labels("import", *official, tmp_path / "back", "--recipe", "quick")
    folder = tmp_path / "back"
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "images", "labels"]
    assert [path.name for path in (folder / "images").iterdir()] == ["train-00000-of-00001.parquet"]
    assert torch.equal(read_images(folder / "images").pixels, source.task.images.pixels)
    card = (folder / "README.md").read_text("utf-8")
    assert "No record of a measurement came with these labels." in card
    assert "labels of one epoch" in labels("verify", folder)
    assert "labels of one epoch" in labels(
        "verify", folder / "labels", "--images", folder / "images"
    )


def test_the_commands_of_the_documentation_run(tmp_path, monkeypatch):
    """Those of docs/exchange.md, on labels that LPQLD's form holds; the last one needs a run."""
    shipped, _ = ship(tmp_path, keep=0.5, k=3)
    shutil.copytree(shipped, tmp_path / "to_give_away")
    labels("export", shipped, tmp_path / "official")
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "exchange.md").read_text("utf-8")
    lines = re.findall(r"^python -m benchmark labels (.*?)(?: +#.*)?$", page, re.MULTILINE)
    assert [line.split()[0] for line in lines] == ["inspect", "verify", "import", "export"]
    for line in lines:
        line = line.replace("imagenet1k", "quick")  # of pictures of 8 x 8
        line = line.replace("LABELS", "official/labels").replace("IMAGES", "official/images")
        labels(*line.split())
    assert (tmp_path / "to_use" / "README.md").is_file()
    assert (tmp_path / "for_lpqld" / "labels").is_dir()


def test_all_labels_can_be_exported(tmp_path):
    shipped, source = ship(tmp_path, Soft)
    said = labels("export", shipped, tmp_path / "official")
    assert said.startswith("wrote 36 batches and 20 images")
    assert "wants batches of one size; these have [6, 7]" in said
    heads = [tuple(views.index[:3].tolist()) for views, _ in source.stored_labels()]
    assert len(set(heads)) < len(heads)
    assert "first three images; some share" in said
    where = ("--images", tmp_path / "official" / "images")
    shown = labels("inspect", tmp_path / "official" / "labels", *where)
    assert "LPQLD" in shown
    assert "36 of up to 7 labels, 240 in all" in shown
    assert "240 labels were" in labels("verify", tmp_path / "official" / "labels", *where)


def test_ours_are_inspected_and_verified(tmp_path):
    shipped, source = ship(tmp_path)
    shown = labels("inspect", shipped)
    assert "method" in shown
    assert "lpqld" in shown
    assert f"{source.storage().total:,} B" in shown
    assert "labels of one epoch" in labels("verify", shipped)
    assert "as they were written" in labels("verify", shipped / "labels")
    shard = next((shipped / "labels").glob("*.safetensors"))
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(data)
    code, _, err = run_main("labels", "verify", shipped)
    assert code == 2
    assert "damaged" in err


def test_a_path_stays_at_home(tmp_path):
    shipped, _ = ship(tmp_path)
    labels("export", shipped, tmp_path / "official")
    official = [tmp_path / "official" / part for part in ("labels", "images")]
    labels("import", *official, tmp_path / "back", "--recipe", "quick")
    assert str(tmp_path) not in (tmp_path / "back" / "labels" / "labels.json").read_text()


def test_what_is_wrong_is_said_and_nothing_written(tmp_path):
    shipped, _ = ship(tmp_path)
    labels("export", shipped, tmp_path / "official")
    theirs, images = tmp_path / "official" / "labels", tmp_path / "official" / "images"
    before = listing(tmp_path)
    for arguments, sentence in [
        (("inspect", theirs), "pass --images"),
        (("export", shipped, shipped), "exists already"),
        (("import", theirs, images, tmp_path / "new", "--recipe", "no"), "Unknown recipe 'no'"),
        (("import", theirs, images, tmp_path / "new", "--set", "k=99"), "lpqld.k is 99"),
        (("import", images, images, tmp_path / "new"), "holds neither"),
        (("import", theirs, theirs, tmp_path / "new"), "holds no class folders"),
    ]:
        code, _, err = run_main("labels", *arguments)
        assert code == 2, sentence
        assert sentence in err
    assert listing(tmp_path) == before


def test_more_labels_than_the_recipe_shows_are_not_dropped_in_silence(tmp_path, monkeypatch):
    shipped, _ = ship(tmp_path, keep=1.0)
    labels("export", shipped, tmp_path / "official")
    official = [tmp_path / "official" / part for part in ("labels", "images")]
    short = replace(recipe_of("quick"), epochs=2)
    monkeypatch.setattr(recipes, "make", lambda name, setting: short)
    with pytest.raises(
        UserError, match="holds 36 batches, and students of recipe 'quick' take 6 steps"
    ):
        import_labels(official[0], official[1], tmp_path / "new", "quick", {})
    assert not (tmp_path / "new").exists()
    import_labels(official[0], official[1], tmp_path / "new", "quick", {"keep": "1"})


def test_what_a_kill_left_behind_is_no_hindrance(tmp_path):
    shipped, _ = ship(tmp_path)
    (tmp_path / ".official.partial" / "labels").mkdir(parents=True)
    labels("export", shipped, tmp_path / "official")
    assert not (tmp_path / ".official.partial").exists()


def test_labels_whose_classes_stand_in_another_order_are_refused(tmp_path):
    _, source = ship(tmp_path, keep=1.0, quantise="none")
    turned = (OfficialBatch(v, rows.roll(1, 1).half(), None) for v, rows in source.stored_labels())
    write_lpqld(tmp_path / "labels", turned, 8, 10)
    write_images(tmp_path / "images", source.task.images)
    code, _, err = run_main(
        "labels", "import", tmp_path / "labels", tmp_path / "images", tmp_path / "new"
    )
    assert code == 2
    assert "do not fit these images" in err
    assert not (tmp_path / "new").exists()


def test_labels_of_images_in_another_order_are_refused_by_the_teacher(tmp_path):
    shipped, source = ship(tmp_path, keep=1.0)
    labels("export", shipped, tmp_path / "official")
    path = str(tmp_path / "official" / "labels")
    settled = LPQLD.resolve_options(LPQLD.Options(path=path, keep=1.0), source.task.shape, None)
    LPQLD.fit(source.task, settled)
    images = source.task.images
    other = ResidentImages(images.pixels.flip(0), images.labels, images.class_names)
    with pytest.raises(UserError, match="do not fit these images"):
        LPQLD.fit(replace(source.task, images=other), settled)


def test_pictures_of_several_sizes_are_refused(tmp_path):
    (tmp_path / "a").mkdir()
    for side in (8, 9):
        Image.new("RGB", (side, side)).save(tmp_path / "a" / f"{side}.png")
    with pytest.raises(Exception, match=r"8x8 \(8.png\), 9x9 \(9.png\)"):
        read_images(tmp_path)


@pytest.mark.parametrize(
    ("classes", "name"), [(12, "{}"), (12, "{:05}"), (1002, "new{:03}")], ids=str
)
def test_labels_count_pictures_as_imagefolder_and_classes_by_number(classes, name, tmp_path):
    # Folders of numbers of several lengths are listed as text: 0, 1, 10, 11, 2, ...
    side, each, names = 8, 2, [name.format(label) for label in range(classes)]
    for label, folder in enumerate(names):
        (tmp_path / "images" / folder).mkdir(parents=True)
        for number in range(each):
            shade = torch.tensor([label % 250, label // 250, number], dtype=torch.uint8)
            pixels = shade.view(1, 1, 3).expand(side, side, 3)
            file = tmp_path / "images" / folder / f"{number}.png"
            Image.fromarray(pixels.numpy()).save(file)
    listed = [names.index(folder) for folder in sorted(names) for _ in range(each)]
    plan = ViewPlan(0, each * classes, side, 64, 2, Augmentation(mix="none"))
    hot = 9 * F.one_hot(torch.tensor(listed), classes).half()
    batches = [plan.batch(*divmod(n, plan.batches)) for n in range(plan.steps)]
    write_lpqld(
        tmp_path / "labels",
        (OfficialBatch(v, hot[v.index], None) for v in batches),
        side,
        classes,
    )
    theirs, images = tmp_path / "labels", tmp_path / "images"
    assert "100.0% of the views" in verify_labels(theirs, images)
    import_labels(theirs, images, tmp_path / "new", "imagenet1k", {"keep": "1"})
    source = open_labels(tmp_path / "new" / "labels", tmp_path / "new" / "images", "cpu").source
    shown = source.task.images
    assert list(shown.class_names) == names
    for views, logits in source.stored_labels():
        right = shown.labels[views.index]
        assert logits.argmax(1).equal(right)
        pixels = shown.pixels[views.index]
        assert (pixels[:, 0, 0, 0] + 250 * pixels[:, 1, 0, 0].long()).equal(right)


def test_numbered_folders_are_of_their_classes_and_know_the_order_of_imagefolder(tmp_path):
    for label in range(12):
        folder = tmp_path / f"new{label}"
        folder.mkdir()
        Image.new("L", (8, 8), 20 * label).save(folder / "class_id000.png")
    found = read_images(tmp_path)
    assert found.labels.tolist() == list(range(12))
    assert found.positions is not None
    assert found.positions.argsort().tolist() == [0, 1, 10, 11, *range(2, 10)]  # as text
    assert (found.pixels[:, 0, 0, 0] == 20 * found.labels).all()
    assert found.class_names == tuple(f"new{label}" for label in range(12))
    (tmp_path / "new10").rename(tmp_path / "new12")  # there is no class of this number
    with pytest.raises(UserError, match="numbered 0 to 12; they must be 0 to 11"):
        read_images(tmp_path)


def test_logits_in_single_precision_are_rounded_when_they_are_stored(tmp_path):
    _, source = ship(tmp_path, keep=1.0, quantise="none")
    rows = [(views, logits.float() + 1e-3) for views, logits in source.stored_labels()]
    write_lpqld(tmp_path / "labels", (OfficialBatch(v, x, None) for v, x in rows), 8, 10)
    write_images(tmp_path / "images", source.task.images)
    theirs = tmp_path / "labels", tmp_path / "images"
    assert "10, float32" in labels("inspect", theirs[0], "--images", theirs[1])
    import_labels(*theirs, tmp_path / "new", "quick", {"quantise": "none"})
    folder = tmp_path / "new"
    back: Any = open_labels(folder / "labels", folder / "images", "cpu").source
    for (_, expected), (_, found) in zip(rows, back.stored_labels(), strict=True):
        assert torch.equal(found, expected.half().float())
