import re
from pathlib import Path

import pytest

from benchmark.core import plugins
from benchmark.report.citations import Entry, bibliography, cited, known

CONTROL = ("hard",)  # needs no citation
ENTRY = re.compile(r"@\w+\{[\w-]+,\n(  \w+ *= \{.*\},\n)+\}", re.ASCII)


def test_entries_are_whole():
    found = known()
    assert len({entry.key for entry in found.values()}) == len(found) > 15
    text = Path(plugins.__file__).parents[1].joinpath("report", "papers.bib").read_text("utf-8")
    assert text.count("@") == len(found)
    for number, entry in found.items():
        assert ENTRY.fullmatch(entry.text), entry.text
        assert all(field in entry.text for field in ("author", "title", "year"))
        assert number == "labelbench" or re.fullmatch(r"\d{4}\.\d{4,5}", number)


@pytest.mark.parametrize("name", sorted(plugins.found(plugins.METHODS)))
def test_every_method_of_ours_has_an_entry(name):
    entries = cited(plugins.METHODS, name)
    assert bool(entries) == (name not in CONTROL)
    assert all(entry in known().values() for entry in entries)


def test_a_method_cites_its_paper():
    assert [entry.key for entry in cited(plugins.METHODS, "lpqld")] == ["xiao2026soft"]
    assert [entry.key for entry in cited(plugins.METHODS, "transform")] == ["labelbench"]
    assert [e.key for e in cited(plugins.RECIPES, "lpld")] == ["xiao2024large", "yin2023squeeze"]
    assert cited(plugins.METHODS, "nowhere") == []


def test_of_an_unknown_paper_the_plugins_words_make_the_entry(tmp_path, monkeypatch):
    monkeypatch.setattr(plugins, "_added", {})
    file = tmp_path / "my_method.py"
    body = '"""Mine."""\nfrom benchmark import LabelSource\n\n\nclass Mine(LabelSource):\n'
    file.write_text(
        body + '    """Mine."""\n    paper = "Me & you, 100 % of it, arXiv 0000.00000"\n'
    )
    plugins.add(file)
    (entry,) = cited(plugins.METHODS, "my_method")
    assert entry.key == "method-my-method"
    assert r"title = {{Me \& you, 100 \% of it, arXiv 0000.00000}}" in entry.text
    assert ENTRY.fullmatch(entry.text)


def test_a_bibliography_holds_each_paper_once_in_order():
    one, two = Entry("a", "@misc{a,\n}"), Entry("b", "@misc{b,\n}")
    assert bibliography([two, one, two]) == "@misc{a,\n}\n\n@misc{b,\n}\n"
