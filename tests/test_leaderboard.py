import copy
from typing import Any

import pytest

from benchmark.leaderboard import publish, tables

CELL = {
    "dataset": "digits",
    "images": "random",
    "ipc": 10,
    "student": "convnet-d3",
    "recipe": "quick",
    "teacher": "resnet18",
}


def record(method: str, seed: int, accuracy: float, **changes: Any) -> Any:
    made: dict[str, Any] = {
        "schema": 1,
        "key": f"{method}{seed}",
        "cell": {**CELL, "method": method, "seed": seed},
        "on_protocol": True,
        "recipe": {"name": "quick", "epochs": 60},
        "inputs": {"similarity": 0.8664, "teacher_accuracy": 0.95},
        "storage": {
            **dict.fromkeys(("values", "indices", "views", "weights", "teacher", "prior"), 0),
            "container": 500,
            "parameters": 0,
            "blocks": 4096,
            "total": 500,
            "images": 8_000,
            "soft": 12_000,
        },
        "prior": None,
        "result": {"accuracy": accuracy, "seconds_fit": 0.04},
        "throughput": {
            "batch": 50,
            "seconds_bare_step": [0.01, 0.02],
            "seconds_step": [0.015, 0.02],
            "seconds_targets": [0.001, 0.001],
            "hardware": "NVIDIA Test",
            "precision": "fp32",
        },
        "environment": {"cpu": "Some CPU"},
    }
    return {**made, **changes}


HELLO = record("hello", 0, 0.6)
HELLO["storage"] |= {"weights": 2500, "total": 3000, "parameters": 1250, "prior": 7_400_000}
HELLO["storage"]["blocks"] = 8192
HELLO["prior"] = "embedded"
HELLO["throughput"]["seconds_step"] = [0.03, 0.04]
HELLO["throughput"]["seconds_floor"] = [0.001, 0.0008]  # ratios 1 and 1.25
RECORDS = [record("hard", 0, 0.5), record("hard", 1, 0.52), HELLO]

GOLDEN = """\
### Accuracy: digits, IPC 10, convnet-d3, recipe quick, teacher resnet18 (95.00%)

| images   | method   |   accuracy % |           ± |   n |   bytes |                  prior |
|:---------|:---------|-------------:|------------:|----:|--------:|-----------------------:|
| random   | hello    |        60.00 | n too small | 1/2 |   3,000 | embedded (7,400,000 B) |
| random   | hard     |        51.00 |       12.71 |   2 |     500 |                      - |
| random   | lpqld    |      missing |             | 0/1 |         |                        |

### Storage: digits, IPC 10, convnet-d3, recipe quick, teacher resnet18 (95.00%)

| images   | method   |   values |   indices |   views |   weights |   container |   total |   ratio |                  prior |   teacher |   images (B) |   logits |   parameters |   blocks |
|:---------|:---------|---------:|----------:|--------:|----------:|------------:|--------:|--------:|-----------------------:|----------:|-------------:|---------:|-------------:|---------:|
| random   | hard     |        0 |         0 |       0 |         0 |         500 |     500 |   24.0x |                      - |         0 |        8,000 |        0 |            0 |    4,096 |
| random   | hello    |        0 |         0 |       0 |     2,500 |         500 |   3,000 |    4.0x | embedded (7,400,000 B) |         0 |        8,000 |        0 |        1,250 |    8,192 |

### Images: digits, IPC 10, convnet-d3, recipe quick, teacher resnet18 (95.00%)

| images   |   similarity |   images (B) |
|:---------|-------------:|-------------:|
| random   |        0.866 |        8,000 |

### Throughput: digits, IPC 10, convnet-d3, recipe quick, teacher resnet18 (95.00%), on NVIDIA Test, fp32

| images   | method   |   labels/s |   images/s |   ratio to bare step |   lowest..highest |   share of step |   over floor |   repeats |   fit (s) |                  prior |
|:---------|:---------|-----------:|-----------:|---------------------:|------------------:|----------------:|-------------:|----------:|----------:|-----------------------:|
| random   | hard     |     50,000 |      2,857 |                 1.25 |        1.00..1.50 |            5.8% |            - |         4 |       0.0 |                      - |
| random   | hello    |     50,000 |      1,429 |                 2.50 |        2.00..3.00 |            2.9% |        1.12x |         2 |       0.0 | embedded (7,400,000 B) |
"""  # noqa: E501


def missing(method: str, seed: int) -> Any:
    return {**CELL, "method": method, "seed": seed}


def test_golden_markdown():
    made = tables(RECORDS, [missing("hello", 1), missing("lpqld", 0)])
    assert "\n".join(table.markdown() for table in made) == GOLDEN


def test_the_order_of_records_does_not_matter():
    absent = [missing("lpqld", 0), missing("hello", 1)]
    made = tables(RECORDS[::-1], absent)
    assert "\n".join(table.markdown() for table in made) == GOLDEN


def test_tables_change_no_record():
    before = copy.deepcopy(RECORDS)
    tables(RECORDS, [missing("lpqld", 0)])
    assert before == RECORDS


def comparisons(*found: Any) -> dict[str, list[str]]:
    """The methods of each accuracy table, by its title."""
    made = tables(found)
    return {t.title: sorted(t.frame["method"]) for t in made if t.kind == "accuracy"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dataset", "mnist"),
        ("ipc", 50),
        ("student", "resnet18"),
        ("recipe", "cpu"),
        ("teacher", "other"),
    ],
)
def test_only_like_is_compared_with_like(name, value):
    other = record("hello", 0, 0.9)
    other["cell"][name] = value
    found = comparisons(*RECORDS, other)
    assert sorted(found.values()) == [["hard", "hello"], ["hello"]]


def test_off_protocol_never_shares_a_table():
    changed = {"name": "quick", "epochs": 61}
    off = record("soft", 0, 0.9, on_protocol=False, recipe=changed)
    more = record("lpqld", 0, 0.9, on_protocol=False, recipe={**changed, "epochs": 62})
    found = comparisons(*RECORDS, off, more)
    assert sorted(found.values()) == [["hard", "hello"], ["lpqld"], ["soft"]]
    titles = {methods[0]: title for title, methods in found.items()}
    assert "OFF-PROTOCOL" in titles["soft"]
    assert "OFF-PROTOCOL" in titles["lpqld"]
    assert "OFF-PROTOCOL" not in titles["hard"]


def test_images_measured_before_similarity_was_have_none():
    older = record("soft", 0, 0.9)
    del older["inputs"]["similarity"]
    (table,) = (table for table in tables([older]) if table.kind == "images")
    assert table.frame["similarity"].tolist() == ["-"]


def test_times_of_other_hardware_stand_apart():
    other = record("soft", 0, 0.9)
    other["throughput"] |= {"hardware": "CPU, 2 threads"}
    timed = [table for table in tables([*RECORDS, other]) if table.kind == "throughput"]
    titles = {table.title.partition(", on ")[2]: len(table.frame) for table in timed}
    assert titles == {"NVIDIA Test, fp32": 2, "Some CPU, CPU, 2 threads, fp32": 1}


def column(kind: str, name: str, *found: Any) -> list[str]:
    (table,) = (table for table in tables(found) if table.kind == kind)
    return table.frame[name].tolist()


def test_shares_and_floors_are_medians_of_paired_repeats():
    one, two = record("teacher", 0, 0.5), record("teacher", 1, 0.5)
    one["throughput"] |= {"seconds_step": [0.01, 0.04], "seconds_targets": [0.005, 0.004]}
    two["throughput"] |= {"seconds_step": [0.02, 0.02], "seconds_targets": [0.004, 0.006]}
    assert column("throughput", "share of step", one, two) == ["25.0%"]  # of 50, 10, 20, 30
    assert column("throughput", "over floor", one, two) == ["-"]
    two["throughput"]["seconds_floor"] = [0.002, 0.004]  # ratios 2 and 1.5
    assert column("throughput", "over floor", one, two) == ["1.75x"]


@pytest.mark.parametrize(
    ("total", "ratio"),
    [
        (300, "40.0x"),
        (12_000, "1.0x"),
        (12_001, "1.0x"),  # all labels come in a container
        (13_000, "0.9x (more than all labels)"),
        (15_000, "0.8x (more than all labels)"),
    ],
)
def test_storage_says_what_is_more_than_all_labels(total, ratio):
    made = record("teacher", 0, 0.5)
    made["storage"]["total"] = total
    assert column("storage", "ratio", made) == [ratio]


def test_notes_of_a_fit_change_nothing():
    noted = copy.deepcopy(RECORDS)
    for made in noted:
        made["result"]["fit"] = {"agreement": 0.9, "rounds": [1, 2]}
    plain, other = tables(RECORDS), tables(noted)
    assert [table.markdown() for table in plain] == [table.markdown() for table in other]


def test_every_table_of_methods_names_the_prior_and_its_bytes():
    for table in tables(RECORDS):
        if table.kind == "images":
            continue
        priors = dict(zip(table.frame["method"], table.frame["prior"], strict=True))
        assert priors == {"hard": "-", "hello": "embedded (7,400,000 B)"}


def test_published_files(tmp_path):
    made = tables(RECORDS)
    paths = publish(made, tmp_path)
    assert paths[0].name == "leaderboards.md"
    text = paths[0].read_text()
    assert all(table.markdown() in text for table in made)
    (file,) = tmp_path.glob("digits-ipc10-convnet-d3-quick-??????-accuracy.csv")
    assert file.read_text() == (
        "images,method,accuracy %,±,n,bytes,prior\n"
        'random,hello,60.00,n too small,1,"3,000","embedded (7,400,000 B)"\n'
        "random,hard,51.00,12.71,2,500,-\n"
    )
    assert len(paths) == len(set(paths)) == 5


def test_pictures_are_shown_above_the_tables(tmp_path):
    publish(tables(RECORDS), tmp_path, [tmp_path / "digits-frontier.png"])
    text = (tmp_path / "leaderboards.md").read_text()
    assert text.index("![digits-frontier](digits-frontier.png)") < text.index("### Accuracy: ")
    publish(tables(RECORDS), tmp_path)
    assert "![" not in (tmp_path / "leaderboards.md").read_text()
