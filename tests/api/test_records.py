"""Questions to records, sizes, checks and figures, as values instead of print."""

from pathlib import Path

import pandas as pd
import pytest
from tiny import quick_clock, run_main

import benchmark
from benchmark import UserError, open_labels
from benchmark.api import reference as owed
from benchmark.core import plugins
from benchmark.experiment.reference import accuracies

QUICK = Path(__file__).parents[2] / "results" / "digits-quick.jsonl"


def test_compare_gives_pairs():
    pairs = benchmark.compare("rded/soft", "rded/hard", QUICK)
    assert [pair.verdict for pair in pairs] == ["rded/soft is better."]
    _, out, _ = run_main("compare", "rded/soft", "rded/hard", QUICK)
    assert out.startswith(pairs[0].text())
    with pytest.raises(UserError, match="Unknown method or IMAGES/METHOD 'sof'"):
        benchmark.compare("sof", "hard", [QUICK])


def test_advise_gives_answers():
    advice = benchmark.advise("digits", "4kB", images="rded", records=QUICK)
    best = advice.answers[0].best
    assert best is not None
    assert best.storage["total"] <= 4000
    _, out, _ = run_main(
        "advise", "--dataset", "digits", "--bytes", "4kB", "--images", "rded", "--records", QUICK
    )
    assert str(advice) + "\n" == out
    with pytest.raises(UserError, match="fits in 3 B"):
        benchmark.advise("digits", 3, records=QUICK)


def test_size_gives_bytes():
    sizes = benchmark.size(10, 10, ["soft", "lpqld[k=2]"], budget=["40x"], recipe="rded")
    _, out, _ = run_main(
        *("size", "--classes", 10, "--ipc", 10, "--methods", "soft,lpqld[k=2]"),
        *("--budget", "40x", "--recipe", "rded"),
    )
    assert sizes.text() + "\n" == out
    plain = benchmark.size(10, 10, "soft", recipe="rded").to_pandas()
    assert plain["labels"].tolist() == [600_000]
    assert plain["ratio"].tolist() == [1.0]
    frame = sizes.to_pandas()
    assert "soft has no setting that changes its size" in frame["refused"].tolist()[0]
    assert 0 < frame["labels"].tolist()[1] <= 600_000 / 40
    assert "<td>" in sizes._repr_html_()


def test_reference_gives_lines():
    lines = benchmark.reference(QUICK)
    frame = pd.DataFrame(lines)
    assert {"accuracy", "storage"} == {*frame["kind"]}
    assert {"met", "owed"} <= {*frame["verdict"]}
    with pytest.raises(UserError, match="--within takes seconds"):
        benchmark.reference(QUICK, within="soon")


def test_what_is_owed_is_measured_by_its_own_command(monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(owed, "measure", lambda grid, at: seen.append((grid, at)))
    benchmark.reference(QUICK, "1d", tmp_path, data_root=tmp_path, device="cpu")
    on_a_core = [cell for cell in accuracies() if cell.minutes]
    assert len(seen) == len(on_a_core) >= 2
    for (grid, at), cell in zip(seen, on_a_core, strict=True):
        words = dict(zip(cell.run[::2], cell.run[1::2], strict=False))
        assert ",".join(map(str, grid.ipc)) == words["--ipc"]
        assert grid.dataset == cell.record["dataset"]
        assert (at.work, at.data_root, at.device) == (str(tmp_path), tmp_path, "cpu")
    seen.clear()
    benchmark.reference(QUICK, "1s", tmp_path, device="cpu")
    assert seen == []


def test_check_gives_every_check(tmp_path, monkeypatch):
    monkeypatch.setattr(plugins, "_added", {})
    checks = benchmark.check("steady", plugin=_recipe(tmp_path))
    assert len(checks) >= 3
    assert {check.problem for check in checks} == {None}
    with pytest.raises(UserError, match="Unknown plugin 'hrad'"):
        benchmark.check("hrad")


def _recipe(folder: Path) -> str:
    file = folder / "steady.py"
    file.write_text(
        '"""Steady: ten epochs of SGD."""\n\nfrom benchmark import Recipe, RecipeSource\n\n\n'
        "class Steady(RecipeSource):\n    def recipe(self, setting):\n"
        '        return Recipe(self.name, epochs=10, batch_size=5, optimiser="sgd", lr=0.1)\n'
    )
    return str(file)


def test_ship_gives_what_opens(tmp_path):
    work = tmp_path / "work"
    with quick_clock():
        results = benchmark.run(
            dataset="digits", students="convnet-d2-w8", teacher="convnet-d2-w8", images="random",
            ipc=2, methods="hard", recipe="quick", set={"recipe.epochs": 2, "teacher.epochs": 1},
            seeds=1, controls=False, device="cpu", jobs=1, work=work,
        )  # fmt: skip
    (record,) = results.records
    (told,) = benchmark.ship(record, tmp_path / "given", work)
    assert told.startswith(f"wrote {tmp_path / 'given'}/labels and ")
    assert len(open_labels(tmp_path / "given", device="cpu")) >= 1
    (file,) = (work / "records").glob("*.json")
    benchmark.ship(str(file), tmp_path / "again", str(work))
    first, again = ((tmp_path / name).rglob("*") for name in ("given", "again"))
    assert {p.name for p in again} == {p.name for p in first}
    with pytest.raises(UserError, match="takes a new folder"):
        benchmark.ship(record, work=work)
    with pytest.raises(UserError, match="does not hold the record"):
        benchmark.ship({**record, "key": "0" * 24}, tmp_path / "third", work)


def test_places_are_also_given_as_a_list():
    assert len(benchmark.results([QUICK]).records) == len(benchmark.results(QUICK).records)


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ({"classes": 0, "ipc": 10}, "classes must be a whole number from 2 to 1,000,000, got 0"),
        ({"classes": "ten", "ipc": 10}, "classes must be a whole number .*, got 'ten'"),
        ({"classes": 10, "ipc": 10, "epochs": 0}, "epochs must be a whole number from 1 "),
        ({"classes": 10, "ipc": 10, "resolution": None}, "resolution must be .*, got None"),
        ({"classes": 10, "ipc": 10, "methods": []}, "size takes at least one method"),
    ],
)
def test_sizes_of_nothing_are_refused(numbers, said):
    with pytest.raises(UserError, match=said):
        benchmark.size(**numbers)


def test_nothing_is_written_before_there_is_a_token(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmark.core.hub.token", lambda: None)
    with pytest.raises(UserError, match="takes a token"):
        benchmark.ship(tmp_path / "record.json", tmp_path / "given", push="someone/thing")
    code, _, err = run_main(
        "collect", QUICK, "--to", tmp_path / "out.jsonl", "--push", "someone/thing"
    )
    assert code == 2
    assert "takes a token" in err
    assert [*tmp_path.iterdir()] == []


def test_all_public_names_are_imported_by_a_star():
    names: dict[str, object] = {}
    exec("from benchmark import *", names)
    assert {"run", "register", "open_labels", "LabelSource"} <= names.keys()
    assert names["size"] is benchmark.size
