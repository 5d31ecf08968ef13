"""The house: ten rooms, imports that run one way between them, and modules that say what they do.

Read from the source alone; nothing is imported.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# From top to bottom; a room may import from those below it. `methods` and `datasets` are plugins.
FLOORS = (
    "cli",
    "api",
    "report",
    "experiment",
    "methods",
    "exchange",
    "datasets",
    "labels",
    "models",
    "data",
    "records",
    "core",
)
PLUGINS = {"methods", "datasets"}
SHELF = {"__init__", "__main__"}
LONGEST = 60  # lines of a function


@cache
def modules() -> dict[str, Path]:
    """Every module by its dotted name below `benchmark`; a package by its own name."""
    found = {}
    for top in ("benchmark", *PLUGINS):
        for file in (ROOT / top).rglob("*.py"):
            parts = file.relative_to(ROOT).with_suffix("").parts
            parts = parts[1:] if top == "benchmark" else parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(modules()[module].read_text(encoding="utf-8"))


def imports(module: str, everywhere: bool = True) -> Iterator[str]:
    """The modules that one imports, of this project; at its top level only, or everywhere."""
    nodes = ast.walk(tree(module)) if everywhere else tree(module).body
    for node in nodes:
        if isinstance(node, ast.Import):
            names = [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            source = node.module or ""
            if node.level:
                package = module if modules()[module].name == "__init__.py" else parent(module)
                for _ in range(node.level - 1):
                    package = parent(package)
                source = ".".join(filter(None, ("benchmark", package, source)))
            names = [(source, alias.name) for alias in node.names]
        else:
            continue
        for source, name in names:
            if source == "benchmark" or source.startswith("benchmark."):
                below = source.removeprefix("benchmark").lstrip(".")
                inner = ".".join(filter(None, (below, name)))
                yield inner if inner in modules() else below


def parent(module: str) -> str:
    return module.rpartition(".")[0]


def room(module: str) -> str:
    return module.partition(".")[0]


def rooms() -> set[str]:
    return {room(m) for m in modules() if modules()[m].is_relative_to(ROOT / "benchmark")} - {
        "",
        *SHELF,
    }


def test_there_are_ten_rooms_and_nothing_else_on_the_shelf():
    assert rooms() == {*FLOORS} - PLUGINS
    assert len(rooms()) <= 10
    files = {path.stem for path in (ROOT / "benchmark").glob("*.py")}
    assert files == SHELF
    folders = {path.name for path in (ROOT / "benchmark").iterdir() if path.is_dir()}
    assert folders - {"__pycache__"} == rooms()


@pytest.mark.parametrize("module", sorted(modules()))
def test_imports_run_down_the_house(module):
    at = room(module)
    for target in imports(module):
        there = room(target)
        if at in SHELF or at == "" or there == at:
            continue
        assert there in FLOORS, f"{module} imports {target}"
        assert FLOORS.index(there) > FLOORS.index(at), f"{module} imports {target}, which is above"
        if at not in PLUGINS:
            assert there not in PLUGINS, f"{module} imports the plugin {target} by its name"


@pytest.mark.parametrize("at", FLOORS)
def test_modules_of_a_room_import_in_no_circle(at):
    graph = {
        m: {t for t in imports(m, everywhere=False) if room(t) == at and t != m}
        for m in modules()
        if room(m) == at
    }
    done: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, " -> ".join((*above, module))
        if module not in done:
            for target in sorted(graph[module]):
                visit(target, (*above, module))
            done.add(module)

    for module in sorted(graph):
        visit(module, ())


@pytest.mark.parametrize("at", sorted({*FLOORS} - PLUGINS))
def test_a_rooms_face_shows_what_others_use_of_it(at):
    used = {
        target.split(".")[1]
        for module in modules()
        for target in imports(module)
        if room(target) == at and room(module) != at and "." in target
    }
    (shown,) = [
        set(ast.literal_eval(node.value))
        for node in tree(at).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]
    assert shown == used
    first = (ast.get_docstring(tree(at)) or "").split("\n\n")[0]
    assert first.endswith(".")
    assert ". " not in first


@pytest.mark.parametrize("module", sorted(modules()))
def test_a_modules_first_line_says_what_it_is_for(module):
    if modules()[module].name == "__init__.py" and not tree(module).body:
        return
    first = (ast.get_docstring(tree(module)) or "").partition("\n")[0]
    assert first.endswith((".", "?"))
    assert len(first) > 15


def test_no_function_is_longer_than_a_page():
    long = [
        f"{module}.{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for module in modules()
        for node in ast.walk(tree(module))
        if isinstance(node, ast.FunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > LONGEST
    ]
    assert long == []
