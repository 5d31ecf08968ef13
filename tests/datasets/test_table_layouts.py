"""Which files of a folder are read: layouts, shards, splits whose labels are withheld."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny import dataset_of

from benchmark.core.errors import UserError


def load(place):
    return dataset_of("parquet").load(place, "set")


@pytest.mark.parametrize("base", ["", "data/", "plain_text/"])
@pytest.mark.parametrize("name", ["{}-00000-of-00001", "{}", "{}/0000", "{}-00000-of-00001-a1b2"])
@pytest.mark.parametrize("held_out", ["test", "validation", "valid", "val", "dev"])
def test_usual_layouts(place, write_set, base, name, held_out):
    train, test = (f"{base}{name.format(split)}.parquet" for split in ("train", held_out))
    write_set({train: [0, 1, 1], test: [1]})
    dataset = load(place)
    assert dataset.train.labels.tolist() == [0, 1, 1]
    assert dataset.test.labels.tolist() == [1]


@pytest.fixture
def saved(write_set):
    """A folder as `save_to_disk` writes it."""
    folder = write_set({"train.parquet": [0, 1, 1], "test.parquet": [1]})
    for split, shards in (("train", 2), ("test", 1)):
        table = pq.read_table(folder / f"{split}.parquet")
        (folder / f"{split}.parquet").unlink()
        (folder / split).mkdir()
        names = [f"data-{part:05}-of-{shards:05}.arrow" for part in range(shards)]
        for part, name in enumerate(names):
            rows = table.slice(2 * part, 2)
            file = str(folder / split / name)
            with pa.OSFile(file, "wb") as sink, pa.ipc.new_stream(sink, rows.schema) as out:
                out.write_table(rows)
        state = {"_data_files": [{"filename": name} for name in names], "_format_type": None}
        (folder / split / "state.json").write_text(json.dumps(state))
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "test"]}))
    return folder


@pytest.mark.parametrize("state", [True, False])
def test_a_folder_that_save_to_disk_wrote(place, saved, state):
    if not state:
        for split in ("train", "test"):
            (saved / split / "state.json").unlink()
    dataset = load(place)
    assert dataset.class_names == ("cat", "dog")
    assert dataset.train.labels.tolist() == [0, 1, 1]
    assert dataset.train.pixels[:, 0, 0, 0].tolist() == [0, 1, 2]


def test_a_damaged_folder_of_save_to_disk(place, saved):
    file = saved / "test" / "data-00000-of-00001.arrow"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(UserError, match=r"Cannot read '.*data-00000-of-00001\.arrow'"):
        load(place)
    file.unlink()
    with pytest.raises(UserError, match=r"test' lacks 'data-00000-of-00001\.arrow', which its"):
        load(place)
    state = saved / "test" / "state.json"
    for told, words in [
        ("[]", r"Cannot read '.*state\.json': it must be an object"),
        ('{"_data_files": [1]}', r"Cannot read '.*state\.json': .*_data_files.0 must be an object"),
        ('{"_data_files": [{"filename": "../train/data-00000-of-00002.arrow"}]}', "test' lacks"),
        (
            '{"_data_files": [], "_indices_data_files": [{"filename": "indices.arrow"}]}',
            "holds rows that were chosen or shuffled",
        ),
    ]:
        state.write_text(told)
        with pytest.raises(UserError, match=words):
            load(place)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (["a/train-0", "b/train-0"], "holds 2 sets of training tables, in 'a', 'b': name the"),
        (["train-0", "data/train-0"], r"holds 2 sets of training tables, in '\.', 'data'"),
        (["train-0", "train"], r"train split twice, in 'train-0\.parquet' and 'train\.parquet'"),
        (["train-00000-of-00002"], "train split in .* lacks 1 of its shards, number 1: fetch"),
        (["train-00000-of-00003", "train-00002-of-00003"], "lacks 1 of its shards, number 1"),
        (["train-00001-of-00009"], "lacks 8 of its shards, number 0, 2, 3, 4, 5: fetch"),
        (["train-00000-of-00001", "train-00001-of-00002"], "has shards of 1 and of 2: keep"),
        (["train-00000-of-00001", "train-0"], r"has 'train-0\.parquet' beside numbered shards"),
        (["train-00000-of-00001-aa", "train-00000-of-00001-bb"], "has shard 0 twice"),
        (["train-00001-of-00001"], "has shard 1, but counts 1"),
        (["train-0", "train-2"], "lacks 1 of its shards, number 1"),
        (["train-0", "val-0", "dev-0"], "several validation splits, val and dev: keep one"),
        (["train-0"], r"holds no test split: there is no file test-\*\.parquet, nor one of"),
        (["training-0"], r"set' holds no train-\*\.parquet files, nor train\.parquet"),
    ],
)
def test_what_is_not_whole_or_could_be_read_in_two_ways(place, write_set, files, words):
    write_set({f"{name}.parquet": [0, 1] for name in files})
    with pytest.raises(UserError, match=words):
        load(place)


def test_labelled_tests_come_before_validation(place, write_set, capsys):
    write_set({"train-0.parquet": [0, 1], "test-0.parquet": [0], "validation-0.parquet": [1]})
    assert load(place).test.labels.tolist() == [0]
    assert "withheld" not in capsys.readouterr().err


@pytest.mark.parametrize("hidden", [[-1, -1], [None, None]])
@pytest.mark.parametrize("validation", ["validation", "valid", "val"])
def test_withheld_test_labels(place, write_set, capsys, hidden, validation):
    folder = write_set({"train-0.parquet": [0, 1], "test-0.parquet": hidden})
    with pytest.raises(UserError, match=r"labels of split test are withheld .* no labelled split"):
        load(place)
    write_set({f"{validation}-0.parquet": [1]})
    assert load(place).test.labels.tolist() == [1]
    assert f"test split's labels are withheld; {validation} is tested" in capsys.readouterr().err
    table = pq.read_table(folder / "test-0.parquet")
    pq.write_table(table.drop_columns(["label"]), folder / "test-0.parquet")
    assert load(place).test.labels.tolist() == [1]
    write_set({f"{validation}-0.parquet": [-1]})
    with pytest.raises(UserError, match="labels of split test are withheld"):
        load(place)


def test_some_withheld_labels_are_refused(place, write_set):
    write_set({"train-0.parquet": [0, 1], "test-0.parquet": [0, -1], "val-0.parquet": [1]})
    with pytest.raises(UserError, match=r"Row 1 of .*test-0\.parquet' has the label -1; valid"):
        load(place)


def test_shards_of_other_types_are_refused(place, write_set):
    folder = write_set({"train-0.parquet": [0, 1], "train-1.parquet": [0, 1], "test.parquet": [0]})
    table = pq.read_table(folder / "train-1.parquet")
    other = table.set_column(1, "label", table["label"].cast(pa.int32()))
    pq.write_table(other, folder / "train-1.parquet")
    with pytest.raises(UserError, match=r"train-0.* 'label': 'int64'.*train-1.* 'label': 'int32'"):
        load(place)
