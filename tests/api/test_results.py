"""Results: the published records as tables, frames and pictures."""

from pathlib import Path

import pytest
from tiny import run_main

import benchmark
from benchmark import UserError

PUBLISHED = Path(__file__).parents[2] / "results"
QUICK = PUBLISHED / "digits-quick.jsonl"


@pytest.fixture(scope="module")
def found() -> benchmark.Results:
    return benchmark.results(QUICK)


def test_tables_are_those_of_the_command_line(found):
    _, out, _ = run_main("leaderboard", QUICK)
    assert found.table("") + "\n" == out
    accuracy = found.table()
    assert accuracy == found.table("accuracy")
    assert accuracy.startswith("ACCURACY | ")
    assert accuracy in out
    assert [table.kind for table in found.tables("storage")] == ["storage"] * len(found.comparisons)
    with pytest.raises(UserError, match="Unknown kind of table of these records 'acuracy'"):
        found.table("acuracy")


def test_a_frame_has_a_row_a_record(found):
    frame = found.to_pandas()
    assert len(frame) == len(found.records) > 10
    first, record = frame.iloc[0], found.records[0]
    assert first["method"] == record["cell"]["method"]
    assert first["teacher"] == record["cell"]["teacher"]
    assert first["images"] == record["cell"]["images"]
    assert first["accuracy"] == record["result"]["accuracy"]
    assert first["bytes"] == record["storage"]["total"]
    parts = ["values", "indices", "views", "weights", "container"]
    assert (frame[[f"{part}_bytes" for part in parts]].sum(axis=1) == frame["bytes"]).all()
    assert ((frame["soft_bytes"] / frame["bytes"]) == frame["ratio"]).all()
    assert (frame["step_ratio"] > 0.5).all()
    assert not {"storage", "result"} & {*frame.columns}
    means = frame.groupby(["images", "method"])["accuracy"].mean()
    (comparison,) = found.comparisons
    for row in comparison.rows:
        assert means[row.images, row.method] == pytest.approx(row.accuracy[0])


def test_a_picture_shows_itself_in_a_notebook(found):
    figure = found.plot()
    assert [panel.get_title(loc="left") for panel in figure.axes] == ["IPC 10"]
    assert figure.axes[0].get_xlabel() == "bytes shipped beyond the images"
    assert figure._repr_png_()[:8] == b"\x89PNG\r\n\x1a\n"
    assert "images" in found.plot(in_all=True).axes[0].get_xlabel()


def test_of_several_pictures_one_is_named():
    several = benchmark.results(QUICK, PUBLISHED / "digits-quick-h100.jsonl")
    with pytest.raises(UserError, match="There are 2 pictures; name one by its title:\ndigits, "):
        several.plot()
    assert several.plot("H100").axes
    with pytest.raises(UserError, match="no title has 'cifar' in it"):
        several.plot("cifar")


def test_a_notebook_is_shown_the_accuracies(found):
    shown = found._repr_html_()
    (comparison,) = found.comparisons
    assert comparison.setting.title in shown.replace("&#x27;", "'")
    for row in comparison.rows:
        assert f"<td>{row.method}</td>" in shown
        assert f"<td>{100 * row.accuracy[0]:.2f}</td>" in shown
    assert len(shown) < 20_000
    assert repr(found) == f"{len(found.records)} records, 1 comparisons; .table() shows them"


def test_what_is_not_there(tmp_path):
    with pytest.raises(UserError, match="There are no records at 'nowhere'"):
        benchmark.results("nowhere")
    with pytest.raises(UserError, match="There are no records in"):
        benchmark.results(tmp_path)
