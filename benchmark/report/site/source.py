"""Where this project's source is to be had: `project.urls` of pyproject.toml, and nowhere else."""

import re
import tomllib
from functools import cache
from importlib.metadata import metadata
from pathlib import Path

NAME = "Repository"  # among the project's URLs
COMMIT = re.compile(r"[0-9a-f]{7,64}")


@cache
def source_url() -> str:
    """The repository's address; empty where the project names none."""
    file = Path(__file__).parents[3] / "pyproject.toml"
    if file.is_file():  # a source tree, whatever is installed beside it
        project = tomllib.loads(file.read_text(encoding="utf-8"))
        urls = project.get("project", {}).get("urls", {})
    else:
        said = metadata("labelbench").get_all("Project-URL") or []
        urls = dict(pair.split(", ", 1) for pair in said)
    return urls.get(NAME, "").rstrip("/")


def commit_url(commit: str | None) -> str:
    """The page of a commit as records name it; empty where there is none to link to."""
    plain = (commit or "").removesuffix("-dirty")
    return f"{source_url()}/commit/{plain}" if source_url() and COMMIT.fullmatch(plain) else ""


def file_url(path: str) -> str:
    """The page of a file or folder of the repository; empty where its address is not known."""
    return f"{source_url()}/blob/main/{path}" if source_url() else ""
