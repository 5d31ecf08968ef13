from dataclasses import replace

import pytest
from tiny import dataset_of

from benchmark.core.errors import UserError

LAYOUTS = {
    "cifar10": ("cifar10", "cifar-10-batches-py"),
    "cifar100": ("cifar100", "cifar-100-python"),
    "mnist": ("mnist", "MNIST"),
    "tiny_imagenet": ("tiny_imagenet", "tiny-imagenet-200"),
    "imagenet1k": ("imagenet1k", "imagenet"),
}


@pytest.fixture(params=LAYOUTS)
def named(request):
    return request.param, dataset_of(request.param)


def test_missing_data_is_an_error_that_writes_nothing(named, place):
    name, module = named
    with pytest.raises(UserError) as caught:
        module.load(place)
    assert f"Dataset {name!r} is not in the data root {str(place.root)!r}" in str(caught.value)
    for layout in LAYOUTS[name]:
        assert f"<data root>/{layout}" in str(caught.value)
    assert [path.name for path in place.root.parent.rglob("*")] == ["root"]


def test_without_a_data_root_the_error_says_how_to_name_one(named, place):
    with pytest.raises(UserError, match="pass --data-root PATH or set LABELBENCH_DATA"):
        named[1].load(replace(place, root=None))


def test_a_data_root_that_is_no_folder_is_named(named, place):
    with pytest.raises(UserError, match=r"The data root '.*absent' is not a folder"):
        named[1].load(replace(place, root=place.root / "absent"))


@pytest.mark.parametrize("name", ["tiny_imagenet", "imagenet1k"])
def test_sets_without_a_download_say_so(name, place):
    module = dataset_of(name)
    with pytest.raises(UserError, match="has no download here"):
        module.load(replace(place, download=True))
