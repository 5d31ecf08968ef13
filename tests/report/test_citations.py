import re

import pytest

from benchmark.core import plugins
from benchmark.report.citations import citation, parse


@pytest.mark.parametrize(
    ("paper", "fields"),
    [
        (
            "Cui et al., Hard Labels In! (HALD), arXiv 2512.15647",
            {
                "author": "Cui and others",
                "title": "{Hard Labels In! (HALD)}",
                "year": "2025",
                "eprint": "2512.15647",
            },
        ),
        (
            "Kang, Lim and Shim, Label-Augmented Dataset Distillation, WACV 2025, arXiv 2409.16239",
            {
                "author": "Kang and Lim and Shim",
                "title": "{Label-Augmented Dataset Distillation}",
                "booktitle": "WACV 2025",
                "year": "2025",
            },
        ),
        (
            "Heavy Labels Out! Dataset Distillation, arXiv 2408.08201",
            {"title": "{Heavy Labels Out! Dataset Distillation}", "year": "2024"},
        ),
        (
            "Szegedy et al., Rethinking the Inception Architecture, arXiv 1512.00567, section 7",
            {"title": "{Rethinking the Inception Architecture}", "year": "2015"},
        ),
        ("Ng et al., 50% & more_{x}, 2020", {"title": r"{50\% \& more\_\{x\}}"}),
    ],
)
def test_a_paper_becomes_an_entry(paper, fields):
    entry = parse(paper, "X").bibtex
    found = dict(re.findall(r"^  (\w+) = \{(.*)\},$", entry, re.MULTILINE))
    assert found | fields == found
    assert entry.count("{") == entry.count("}")


def test_every_method_that_names_a_paper_can_be_cited_and_keys_are_of_papers():
    keys: dict[str, set[str]] = {}
    for name, plugin in plugins.found(plugins.METHODS).items():
        cited = citation(name)
        assert (cited is None) == (not plugin.description.paper)
        if cited is not None:
            assert re.fullmatch(r"[a-z0-9-]+", cited.key)
            keys.setdefault(cited.key, set()).add(cited.bibtex)
    assert all(len(entries) == 1 for entries in keys.values())
    assert citation("ld") == citation("ld_rr")
    assert citation("elsewhere") is None
