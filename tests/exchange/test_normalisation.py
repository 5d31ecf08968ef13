"""What students do to the pixels of imported labels is chosen, and said."""

import pytest
import torch
from test_convert import labels, ship
from tiny import run_main

from benchmark.core.errors import UserError
from benchmark.data.images import IMAGENET_MEAN, IMAGENET_STD, ResidentImages
from benchmark.exchange.normalisation import normalisation
from benchmark.exchange.shipping import open_labels


def images(channels=3, count=300):
    pixels = torch.randint(0, 256, (count, channels, 4, 4), dtype=torch.uint8)
    return ResidentImages(pixels, torch.zeros(count, dtype=torch.int64), ["one"])


def test_words_and_numbers():
    assert normalisation("imagenet", "imagenet", images()) == (IMAGENET_MEAN, IMAGENET_STD)
    assert normalisation("imagenet", "1", images(1)) == (IMAGENET_MEAN[:1], (1.0,))
    assert normalisation("0,0,0", "1, 1, 1", images()) == ((0.0,) * 3, (1.0,) * 3)
    shown = images()
    mean, std = normalisation("dataset", "dataset", shown)
    pixels = shown.pixels.transpose(0, 1).flatten(1).double() / 255
    assert mean == pytest.approx(pixels.mean(1).tolist(), abs=1e-6)
    assert std == pytest.approx(pixels.std(1, correction=0).tolist(), abs=1e-6)


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        ("0.5", "imagenet", "--mean takes imagenet, dataset, or 3 numbers .* got '0.5'"),
        ("imagenet", "cifar", "--std takes imagenet, dataset, or 3 numbers .* got 'cifar'"),
        ("nan,0,0", "imagenet", "--mean takes"),
        ("1e7,0,0", "imagenet", "--mean must be numbers within 1e"),
        ("0,0,0", "1,0,1", "--std must be numbers in 1e-06 to 1e.06; got '1,0,1'"),
    ],
)
def test_what_cannot_be_is_refused(mean, std, message):
    with pytest.raises(UserError, match=message):
        normalisation(mean, std, images())


def test_images_of_one_colour_have_no_deviation_of_their_own():
    grey = ResidentImages(torch.full((3, 1, 4, 4), 7, dtype=torch.uint8), torch.arange(3), "abc")
    with pytest.raises(UserError, match="that is of images of one colour"):
        normalisation("dataset", "dataset", grey)


def test_import_says_which_were_taken(tmp_path):
    shipped, _ = ship(tmp_path)
    labels("export", shipped, tmp_path / "official")
    official = [tmp_path / "official" / part for part in ("labels", "images")]
    said = labels("import", *official, tmp_path / "a", "--recipe", "quick")
    assert "mean 0.485 and standard deviation 0.229" in said
    chosen = ("--mean", "0.25", "--std", "dataset")
    said = labels("import", *official, tmp_path / "b", "--recipe", "quick", *chosen)
    assert "mean 0.25 and standard deviation 0.28" in said
    opened = open_labels(tmp_path / "b" / "labels", tmp_path / "b" / "images", "cpu")
    own = opened.source.task.images.pixels.double() / 255
    assert opened.source.task.mean == (0.25,)
    assert opened.source.task.std == pytest.approx((own.std(correction=0).item(),), abs=1e-6)
    code, _, err = run_main("labels", "import", *official, tmp_path / "c", "--std", "0")
    assert code == 2
    assert "--std must be numbers" in err
    assert not (tmp_path / "c").exists()
