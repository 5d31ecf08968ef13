import numpy as np
import pytest
import torch
from PIL import Image
from tiny import dataset_of

from benchmark.core.cache import Cache
from benchmark.core.errors import UserError
from benchmark.data.place import Place


@pytest.fixture
def real(data_root, tmp_path):
    if not (data_root / "omniglot").is_dir():
        pytest.skip("Omniglot is not in the data root")
    return Place(data_root, Cache(tmp_path / "stages"))


def test_an_alphabet_of_the_real_data(real):
    latin = dataset_of("omniglot").load(real, "Latin")
    assert len(latin.class_names) == 26
    assert latin.train.take(torch.arange(3)).shape == (3, 1, 28, 28)
    assert len(latin.train) == 26 * 15
    assert len(latin.test) == 26 * 5
    assert 0.02 < latin.mean[0] < 0.4  # bright ink on a dark ground
    whole = dataset_of("omniglot").load(real)
    assert len(whole.class_names) == 242


def test_an_alphabet_that_is_not_there(real):
    with pytest.raises(UserError, match=r"Unknown alphabet of Omniglot 'Latn'. Did you mean 'Lat"):
        dataset_of("omniglot").load(real, "Latn")


def test_the_original_pictures(tmp_path):
    """Dark ink on white becomes bright on black; drawers 16 and later are for testing."""
    for part, alphabet in (("images_background", "A"), ("images_evaluation", "B")):
        for character in ("character01", "character02"):
            folder = tmp_path / "omniglot-py" / part / alphabet / character
            folder.mkdir(parents=True)
            for drawer in (1, 15, 16, 20):
                picture = np.full((105, 105), 255, np.uint8)
                picture[20:60, 20:60] = 0
                Image.fromarray(picture).convert("1").save(folder / f"0709_{drawer:02}.png")
    place = Place(tmp_path, Cache(tmp_path / "stages"))
    whole = dataset_of("omniglot").load(place)
    assert whole.class_names == (
        "A/character01",
        "A/character02",
        "B/character01",
        "B/character02",
    )
    assert whole.train.labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert whole.test.labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    pixels = whole.train.take(torch.arange(1))[0, 0]
    assert pixels[10, 10] == 255
    assert pixels[25, 25] == 0
    part = dataset_of("omniglot").load(place, "B")
    assert part.class_names == ("B/character01", "B/character02")
    assert part.train.labels.tolist() == [0, 0, 1, 1]
