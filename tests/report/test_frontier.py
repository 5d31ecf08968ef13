import subprocess
import sys
from typing import Any
from xml.etree import ElementTree

import pytest
from matplotlib.colors import to_hex
from synthetic import record
from typer.testing import CliRunner

from benchmark.cli import app
from benchmark.core import plugins
from benchmark.records import store
from benchmark.records.comparison import comparisons
from benchmark.report import curves, frontier, pictures
from benchmark.report.frontier_panel import Point
from benchmark.report.frontier_panel import frontier as pareto

RUNNER = CliRunner()


def several() -> list[Any]:
    hello = record("hello", 0, 0.6, 3_000, prior="embedded")
    hello["storage"]["prior"] = 9_100_000
    return [
        record("hard", 0, 0.50),
        record("hard", 1, 0.52),
        record("soft", 0, 0.70, 12_300),
        record("hard", 0, 0.61, images="random"),
        record("hard", 0, 0.30, ipc=1),
        hello,
    ]


def drawn(*found: Any) -> Any:
    (picture,) = frontier.figures(comparisons(found))
    return picture.figure


def legend(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def containers(figure: Any) -> list[Any]:
    """Points with their bars, of the first panel."""
    return figure.axes[0].containers


def point(size: int, accuracy: float) -> Point:
    return Point("rded", "some", size, accuracy, None, 0)


def test_the_frontier_by_hand():
    found = [
        point(900, 60.0),
        point(100, 50.0),
        point(100, 40.0),  # as few bytes, but worse
        point(500, 45.0),  # more bytes, and worse
        point(700, 50.0),  # more bytes, and no better
        point(800, 55.0),
    ]
    assert pareto(found) == [point(100, 50.0), point(800, 55.0), point(900, 60.0)]
    assert pareto([]) == []


def test_the_line_steps_along_its_source_and_leaves_real_images_out():
    figure = drawn(
        record("hard", 0, 0.5, 100),
        record("soft", 0, 0.4, 12_300),
        record("lpqld", 0, 0.6, 1_000),
        record("hard", 0, 0.9, 90, images="random"),
    )
    (line,) = (x for x in figure.axes[0].lines if x.get_drawstyle() == "steps-post")
    assert line.get_xdata().tolist() == [100, 1_000, 12_300]
    assert line.get_ydata().tolist() == [50.0, 60.0, 60.0]


def test_each_distilled_source_has_a_line():
    figure = drawn(record("hard"), record("hard", images="sre2l"))
    steps = [x for x in figure.axes[0].lines if x.get_drawstyle() == "steps-post"]
    assert len({x.get_linestyle() for x in steps}) == 2


def test_a_panel_for_each_ipc_in_order():
    figure = drawn(*several())
    assert [panel.get_title(loc="left") for panel in figure.axes] == ["IPC 1", "IPC 10"]
    assert all(panel.get_xscale() == "log" for panel in figure.axes)
    assert figure.get_suptitle().replace("\n", " ").replace("\u00a0", " ") == (
        "digits, convnet-d3, recipe quick, teacher resnet18 (95.00%), NVIDIA Test, torch 1.0, fp32"
    )


def test_bars_are_where_there_are_enough_students():
    hard = [record("hard", seed, accuracy) for seed, accuracy in enumerate((0.50, 0.51, 0.52))]
    soft = [record("soft", seed, 0.6 + seed / 10, 9_000) for seed in range(2)]
    figure = drawn(*hard, *soft)
    hard, soft = containers(figure)
    assert hard.has_yerr
    assert not soft.has_yerr  # of two repeats it would be twelve times as wide as they differ
    (bar,) = hard.lines[2]
    half = 4.30265 / 3**0.5  # Student's t of two degrees of freedom
    ends = bar.get_segments()[0][:, 1]
    assert ends.tolist() == pytest.approx([51 - half, 51 + half], abs=1e-3)
    assert "95 % interval over repeats" in legend(figure)
    assert "95 % interval over repeats" not in legend(drawn(record("hard")))


def test_all_labels_are_a_dotted_line():
    (panel,) = drawn(record("hard")).axes
    (line,) = (x for x in panel.lines if x.get_linestyle() == ":")
    assert list(line.get_xdata()) == [12_000, 12_000]
    assert "all soft labels: 12 kB" in [text.get_text() for text in panel.texts]


def test_labels_that_ship_nothing_stand_left_of_all_at_0_bytes():
    figure = drawn(record("transform", 0, 0.5, 0), record("lpqld", 0, 0.6, 1_000))
    (panel,) = figure.axes
    at = {bars.lines[0].get_xdata()[0] for bars in panel.containers}
    assert at == {0, 1_000}
    figure.canvas.draw()
    shown = panel.get_xlim()
    ticks = {
        tick.get_loc(): tick.label1.get_text()
        for tick in panel.xaxis.get_major_ticks()
        if shown[0] <= tick.get_loc() <= shown[1]
    }
    assert ticks[0] == "0 B"
    assert min(ticks) == 0
    assert 1_000 in ticks


def test_the_legend_numbers_methods_and_names_priors():
    words = legend(drawn(*several()))
    assert [text.strip("\u2007").split()[:2] for text in words[:3]] == [
        ["1", "hard"],
        ["2", "soft"],
        ["3", "hello"],
    ]
    assert "† needs a public prior of 9.1 MB" in words[2]
    assert "†" not in words[0] + words[1]
    assert "random, real images" in words
    assert "rded images, Pareto frontier" in words


def test_real_images_are_hollow():
    figure = drawn(record("hard", 0, 0.5), record("hard", 0, 0.6, images="random"))
    faces = {to_hex(bars.lines[0].get_markerfacecolor()) for bars in containers(figure)}
    assert faces == {"#ffffff", pictures.CONTROLS["floor"]}


def test_draws_of_real_images_are_one_hollow_point():
    draws = [record("hard", 0, 0.5 + d / 10, images=f"random[draw={d}]") for d in range(2)]
    (bars,) = containers(drawn(*draws))
    assert to_hex(bars.lines[0].get_markerfacecolor()) == "#ffffff"
    assert bars.lines[0].get_ydata().tolist() == pytest.approx([55.0])


def test_a_family_has_one_colour_in_all_pictures():
    mine = record("mine[k=1]", 0, 0.5, 700)
    other = record("mine[k=2]", 0, 0.5, 700, dataset="mnist")
    more = record("zebra", 0, 0.4, 800, dataset="mnist")
    colours = [
        to_hex(bars.lines[0].get_markerfacecolor())
        for picture in frontier.figures(comparisons([other, more, mine]))
        for bars in containers(picture.figure)
    ]
    assert colours[0] == colours[1] != colours[2]
    assert not {*colours} & {*pictures.CONTROLS.values()}


def test_every_known_family_has_a_colour_of_its_own():
    colours = [*pictures.CONTROLS.values(), *pictures.OTHERS]
    assert len({*colours}) == len(colours)
    known = plugins.found(plugins.METHODS).keys() - {"hard", "soft", "teacher"}
    assert len(known) <= len(pictures.OTHERS)


def test_off_protocol_stands_apart_and_says_so():
    off = record("hard", on_protocol=False, recipe={"name": "quick", "epochs": 61})
    titles = sorted(
        picture.title for picture in frontier.figures(comparisons([record("hard"), off]))
    )
    assert len(titles) == 2
    assert "OFF-PROTOCOL" not in titles[0]
    assert "OFF-PROTOCOL" in titles[1]


NASTY = r"my$x^{$[a=<b>&'\",c=\frac$_%,d=-->]"


def test_names_are_taken_as_they_are(tmp_path):
    cell: dict[str, Any] = {
        "images": "path:$x$/<y>",
        "teacher": "net:$a_{$ <b>.pt",
        "dataset": "parquet:/d$/$<e>",
    }
    found = [record(NASTY, 0, 0.5, **cell), record("hard$", 0, 0.4, 600, **cell)]
    paths = frontier.draw(comparisons(found), tmp_path)
    assert len(paths) == 6  # over labels, and over all that must be there
    (picture,) = (path for path in paths if path.name.endswith("-frontier.svg"))
    assert ElementTree.fromstring(picture.read_text(encoding="utf-8")).tag.endswith("}svg")
    (words,) = (text for text in legend(drawn(*found)) if "my$x" in text)
    assert "a=<b>&" in words
    assert all("$" not in path.name and "<" not in path.name for path in paths)


def test_the_same_records_give_the_same_bytes(tmp_path):
    first = frontier.draw(comparisons(several()), tmp_path / "first")
    second = frontier.draw(comparisons(several()[::-1]), tmp_path / "second")
    assert sorted(path.suffix for path in first) == [".pdf", ".pdf", ".png", ".png", ".svg", ".svg"]
    assert [path.name for path in first] == [path.name for path in second]
    for one, two in zip(first, second, strict=True):
        assert one.read_bytes() == two.read_bytes()


def in_all(*found: Any) -> Any:
    (picture,) = frontier.figures(comparisons(found), frontier.all_there)
    assert picture.kind == "frontier-in-all"
    return picture.figure


def test_all_bytes_count_images_and_prior():
    (panel, other) = in_all(*several()).axes
    assert other.get_xlabel() == "bytes of labels, images (PNG), prior and teacher"
    sizes = {x for bars in other.containers for x in bars.lines[0].get_xdata()}
    assert sizes == {6_500, 18_300, 3_000 + 6_000 + 9_100_000}
    assert not any("all soft labels" in text.get_text() for text in panel.texts)


def test_images_are_raw_where_a_record_tells_no_pngs():
    old = record("ld", 0, 0.6)
    del old["storage"]["images_png"]
    (panel,) = in_all(record("hard"), old).axes
    assert panel.get_xlabel() == "bytes of labels, images (raw), prior and teacher"
    assert {x for bars in panel.containers for x in bars.lines[0].get_xdata()} == {8_500}


def budgets(method: str, *points: tuple[int, float], **changes: Any) -> list[Any]:
    return [
        record(f"{method}[budget={size}]", seed, accuracy, total=size, **changes)
        for size, accuracy in points
        for seed in range(3)
    ]


def test_the_headline_says_what_curves_come_to():
    found = [
        *budgets("lpqld", (1000, 0.4), (2000, 0.45), (4000, 0.5)),
        *budgets("transform", (500, 0.4), (1000, 0.45), (2000, 0.5)),
        *(record("hard", seed, 0.3) for seed in range(3)),
        *(record("soft", seed, 0.5, 100_000) for seed in range(3)),
    ]
    words = [" ".join(text.split()) for text in legend(drawn(*found))]
    assert words[0] == "bytes against lpqld at equal accuracy"  # above the methods
    start = words.index("bytes against lpqld at equal accuracy")
    assert words[start + 1] == "transform: IPC 10 -50 % (-50 to -50)"
    start = words.index("bytes against soft at 95 % of its gain")
    assert words[start + 1].startswith("transform: IPC 10 -98.")
    assert words[start + 2].startswith("lpqld: IPC 10 -96.5 %")  # twice the 1.75 % of transform
    (panel,) = drawn(*found).axes
    curves = [line.get_xdata().tolist() for line in panel.lines if len(line.get_xdata()) == 3]
    assert [1000, 2000, 4000] in curves
    assert [500, 1000, 2000] in curves


def test_a_curve_is_one_line_of_the_legend_and_one_number():
    found = [
        *budgets("lpqld", (1000, 0.4), (2000, 0.45), (4000, 0.5)),
        *(record("hello[budget=9kB]", seed, 0.42, 9_000) for seed in range(3)),
    ]
    figure = drawn(*found)
    assert [text.split()[1] for text in legend(figure) if text.split()[0] in "123"] == [
        "hello[budget=9kB]",
        "lpqld",
    ]
    (panel,) = figure.axes
    numbers = {text.get_text(): text.xy[0] for text in panel.texts if text.get_text() in "123"}
    assert numbers == {"1": 9000, "2": 4000}


def test_without_curves_there_is_no_headline():
    assert not any("against" in text for text in legend(drawn(*several())))


def test_no_records_no_pictures(tmp_path):
    assert frontier.draw([], tmp_path) == []


def test_the_command_writes_pictures_and_shows_them(tmp_path):
    for made in several():
        store.write(tmp_path / "records", made)
    folder, out = str(tmp_path / "records"), tmp_path / "out"
    done = RUNNER.invoke(app.app, ["leaderboard", folder, "--out", str(out)])
    assert done.exit_code == 0, done.output
    text = (out / "pictures.md").read_text(encoding="utf-8")
    kinds = ("frontier", "frontier-in-all", "curves")
    pictures = [path for kind in kinds for path in out.glob(f"*-{kind}.png")]
    assert len(pictures) == 4  # the curves of two comparisons
    assert all(f"({picture.name})" in text for picture in pictures)
    wrote = {line.removeprefix("wrote ") for line in done.stdout.splitlines() if "wrote " in line}
    index = out / "site" / "index.html"
    assert index.is_file()
    assert wrote == {str(path) for path in (*out.iterdir(), index) if path.is_file()}


def test_nothing_is_drawn_without_a_folder(tmp_path, monkeypatch):
    store.write(tmp_path / "records", record("hard"))
    monkeypatch.setattr(frontier, "figures", None)
    monkeypatch.setattr(curves, "figures", None)
    done = RUNNER.invoke(app.app, ["leaderboard", str(tmp_path / "records")])
    assert done.exit_code == 0, done.output
    assert [path.name for path in tmp_path.iterdir()] == ["records"]


def imported(*lines: str) -> set[str]:
    """Which of matplotlib's two doors stand open after these lines."""
    ask = "import sys; print(*{'matplotlib', 'matplotlib.pyplot'} & {*sys.modules})"
    code = "\n".join([*lines, ask])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_matplotlib_waits_until_something_is_drawn():
    modules = ("cli.app", "report.frontier", "report.curves")
    assert imported(*(f"import benchmark.{module}" for module in modules)) == set()


def test_pyplot_is_never_imported(tmp_path):
    path = store.write(tmp_path, record("hard"))
    lines = (
        "from pathlib import Path",
        "from benchmark.report import curves, frontier",
        "from benchmark.records import store",
        "from benchmark.records.comparison import comparisons",
        f"found = comparisons(store.read([Path({str(path)!r})]))",
        f"frontier.draw(found, Path({str(tmp_path)!r}))",
        f"curves.draw(found, Path({str(tmp_path)!r}))",
    )
    assert imported(*lines) == {"matplotlib"}
