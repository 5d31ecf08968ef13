import numpy as np
from sklearn.datasets import load_digits
from tiny import dataset_of


def test_the_split_has_every_class_on_both_sides(place):
    dataset = dataset_of("digits").load(place)
    assert (len(dataset.train), len(dataset.test)) == (1433, 364)
    for images in (dataset.train, dataset.test):
        assert images.labels.unique().tolist() == list(range(10))
        assert images.labels.bincount().max() < 1.1 * images.labels.bincount().min()
        assert images.pixels.shape[1:] == (1, 8, 8)
    assert not dataset.mirror


def test_no_image_is_on_both_sides(place):
    dataset = dataset_of("digits").load(place)
    train = {bytes(image.numpy()) for image in dataset.train.pixels}
    assert not train & {bytes(image.numpy()) for image in dataset.test.pixels}


def test_the_pixels_are_those_of_scikit_learn(place):
    dataset = dataset_of("digits").load(place)
    source, target = load_digits(return_X_y=True)
    assert dataset.class_names[target[0]] == "zero"
    # The first image of each class is a test image, the second a training image.
    for images, nth in ((dataset.test, 0), (dataset.train, 1)):
        for label in range(10):
            expected = source[target == label][nth].reshape(8, 8) * 255 / 16
            found = images.pixels[images.labels == label][0, 0]
            assert np.abs(found.numpy() - expected).max() <= 0.5
