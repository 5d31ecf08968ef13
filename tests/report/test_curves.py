from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_hex
from matplotlib.text import Text
from synthetic import SEVERAL, compared, record, repeats, world
from test_tables import NASTY, nasty

from benchmark.records.comparison import comparisons
from benchmark.report import curves, pictures


def trained(method: str, seed: int, losses: list[float], **changes: Any) -> Any:
    made = record(method, seed, **changes)
    made["result"]["train_loss"] = losses
    return made


def drawn(*found: Any) -> Any:
    (picture,) = curves.figures(comparisons(found))
    return picture.figure


def lines(figure: Any) -> list[Any]:
    """The curves of the first panel."""
    return figure.axes[0].lines


def test_the_mean_over_repeats_and_a_band_around_it():
    figure = drawn(trained("hard", 0, [4.0, 2.0, 1.0]), trained("hard", 1, [2.0, 1.0, 0.5]))
    (line,) = lines(figure)
    assert line.get_xdata().tolist() == [1, 2, 3]
    assert line.get_ydata().tolist() == [3.0, 1.5, 0.75]
    (band,) = figure.axes[0].collections
    corners = {tuple(at) for at in band.get_paths()[0].vertices.tolist()}
    assert {(1, 2), (2, 1), (3, 0.5), (1, 4), (2, 2), (3, 1)} <= corners
    assert figure.axes[0].get_yscale() == "log"


def test_one_repeat_has_no_band():
    assert not drawn(record("hard")).axes[0].collections


def test_repeats_of_unlike_lengths_go_as_far_as_all_do():
    row = compared(trained("ld", 0, [3.0, 2.0, 1.0]), trained("ld", 1, [3.0, 2.0])).rows[0]
    assert curves.curve(row).tolist() == [[3.0, 2.0], [3.0, 2.0]]


@pytest.mark.parametrize("losses", [[1.0, 0.0, 0.0], [1.0, float("nan"), -0.5]])
def test_losses_that_no_logarithm_takes_are_drawn_plainly(losses):
    assert drawn(trained("hard", 0, losses)).axes[0].get_yscale() == "linear"


def test_losses_that_are_no_numbers_leave_gaps(tmp_path):
    nan, inf = float("nan"), float("inf")
    found = [trained("hard", 0, [1.0, inf, 0.5, nan]), trained("soft", 0, [nan] * 4)]
    by_colour = {to_hex(line.get_color()): line.get_ydata() for line in lines(drawn(*found))}
    hard = by_colour[pictures.CONTROLS["floor"]]
    assert np.isfinite(hard).tolist() == [True, False, True, False]
    assert curves.draw(comparisons(found), tmp_path)


def test_a_panel_for_each_image_source_and_one_colour_a_family():
    found = [*SEVERAL, *repeats("hard", [0.5] * 3, images="random")]
    figure = drawn(*found)
    assert [panel.get_title(loc="left") for panel in figure.axes] == [
        "random images",
        "rded images",
    ]
    colours = [to_hex(line.get_color()).upper() for line in figure.axes[1].lines]
    of = pictures.colours_of(comparisons(found))
    assert sorted(colours) == sorted(of[name] for name in ("hard", "hello", "lpqld", "soft"))
    words = [text.get_text().strip("\u2007") for text in figure.legends[0].get_texts()]
    assert [text.split()[:2] for text in words] == [
        ["1", "hard"],
        ["2", "soft"],
        ["3", "hello"],
        ["4", "lpqld[budget=40x]"],
    ]


def test_each_curve_has_its_number_apart_from_the_others():
    found = [record(f"lpqld[k={k}]", 0, total=k) for k in range(1, 25)]  # all curves alike
    figure = drawn(*found)
    (panel,) = figure.axes
    assert sorted(int(text.get_text()) for text in panel.texts) == [*range(1, 25)]
    figure.draw_without_rendering()
    frame = panel.get_window_extent()
    extents = [Text.get_window_extent(text) for text in panel.texts]  # without their leaders
    boxes = sorted(extents, key=lambda box: box.y0)
    assert all(a.y1 <= b.y0 + 1 for a, b in pairwise(boxes))
    assert frame.y0 - 2 <= boxes[0].y0
    assert boxes[-1].y1 <= frame.y1 + 2


def test_one_picture_a_comparison_named_after_it():
    found = comparisons([record("hard"), record("hard", ipc=1)])
    titles = [picture.title for picture in curves.figures(found)]
    assert titles == [comparison.setting.title for comparison in found]
    assert curves.figures([]) == []


def test_many_sources_take_several_lines():
    figure = drawn(*(record("hard", images=f"s{i}") for i in range(5)))
    shown = [panel for panel in figure.axes if panel.axison]
    assert len(figure.axes) == 6
    assert len(shown) == 5
    assert figure.get_size_inches()[1] > 2 * pictures.PANEL[1]


def test_the_same_records_give_the_same_bytes(tmp_path):
    first = curves.draw(comparisons(SEVERAL), tmp_path / "first")
    second = curves.draw(comparisons(SEVERAL[::-1]), tmp_path / "second")
    assert [path.suffix for path in first] == [".png", ".svg", ".pdf"]
    for one, two in zip(first, second, strict=True):
        assert one.name == two.name
        assert one.read_bytes() == two.read_bytes()


def test_hostile_names_are_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "FORMATS", {"svg": {"Date": None}})
    found = nasty()
    for made in found:  # letters that the font does not have are another matter
        made |= {"world": world(hardware=NASTY.replace("日", "")), "precision": "fp32"}
        for name, text in made["cell"].items():
            if isinstance(text, str):
                made["cell"][name] = text.replace("日", "")
    (path,) = curves.draw(comparisons(found), tmp_path)
    assert path.parent == tmp_path


@given(st.lists(st.floats(-50, 150, allow_subnormal=False), max_size=30))
def test_spread_heights_keep_apart_and_inside(heights):
    heights = sorted(heights)
    made = curves.spread(heights, 6.0, 0.0, 100.0)
    gap = min(6.0, 100 / max(1, len(heights) - 1))
    assert all(b - a >= gap - 1e-6 for a, b in pairwise(made))
    assert all(-1e-6 <= height <= 100 + 1e-6 for height in made)


def test_heights_with_room_stay():
    assert curves.spread([10.0, 50.0, 90.0], 6.0, 0.0, 100.0) == [10.0, 50.0, 90.0]
    assert curves.spread([10.0, 10.0], 6.0, 0.0, 100.0) == [7.0, 13.0]
