"""Shipped folders far away: pushed to dataset repositories of the Hub, pulled, opened by URL.

A repository holds images once, and labels for them in `labels/`; further labels for the same
images lie in `labels/CONFIG/`, and `hf:OWNER/NAME:CONFIG` names them.
"""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch

from ..core import remote
from ..core.errors import ArtefactError, UserError
from ..core.files import new_folder
from ..core.hub import CARD, Listing, Repository, Stored, is_named
from ..labels import artefact
from . import image_table

LABELS, IMAGES = "labels", "images"
MORE = "\n## More labels for these images\n\n"


def push(folder: Path, repository: Repository, private: bool = False) -> str:
    """Give a shipped folder to the Hub, in one commit.

    To a repository that holds these images already, its labels are added as a configuration,
    called after their method unless `repository` names one.

    Returns:
        What was done, in a line.

    Raises:
        UserError: the repository holds other images, or other labels of this name, or the Hub
            refuses it or cannot be reached; then nothing of it was committed.
    """
    verify(folder)
    files = _files(folder)
    held = repository.look_to_push() or repository.create(private)
    data = {n: f for n, f in held.files.items() if n.startswith((f"{LABELS}/", f"{IMAGES}/"))}
    config = repository.config
    if data:
        if wrong := _first_difference(data, files):
            raise UserError(
                f"{repository.name!r} holds other images: {wrong} differs. One repository is for "
                "one set of images, so name another one."
            )
        if (there := _place_of(data, files)) is not None:
            return f"{repository.name} holds these labels already, in {there}/"
        config = config or artefact.read_manifest(folder / LABELS)["method"]
        if config in _configs(data):
            raise UserError(
                f"{repository.name!r} holds other labels called {config!r}. Give these a name of "
                f"their own: --push {repository.name}:CONFIG."
            )
    place = f"{LABELS}/{config}" if config else LABELS
    added: dict[str, Path | bytes] = {} if data else {**_without_labels(files)}
    added |= {f"{place}/{name}": file for name, file in _labels(files).items()}
    if data:
        added[CARD] = _card_with(repository, held, config)
    url = repository.commit(added, f"Labels in {place}", held.commit)
    return f"pushed {len(added)} files to {repository.name}, labels in {place}/: {url}"


def pull(place: str, target: Path, revision: str = "") -> None:
    """Fetch a shipped folder from the Hub or a URL, and check every byte that is sealed.

    Args:
        place: `OWNER/NAME[@REVISION][:CONFIG]`, with `hf:` before it or not, or a URL.
        revision: of a repository, where `place` names none.

    Raises:
        UserError: the target exists, or there is no such folder far away.
        ArtefactError: what was fetched is damaged; then nothing is kept.
    """
    with new_folder(target) as partial:
        _fetch(place, partial, revision)
        verify(partial)


def on_this_machine(place: str | Path) -> Path:
    """A shipped folder by its path, its URL, or its repository on the Hub, as a folder here.

    A copy of what is far away lasts as long as this process.

    Args:
        place: a path, a URL, `hf:OWNER/NAME[@REVISION][:CONFIG]`, or OWNER/NAME where no path is
            called so.

    Raises:
        UserError: there is none.
    """
    text = str(place)
    if isinstance(place, Path) or not (is_named(text) or remote.is_url(text)):
        if Path(place).exists() or isinstance(place, Path):
            return Path(place)
        try:
            Repository.parse(text, "dataset")
        except UserError:
            raise UserError(
                f"There is no folder {text!r}, and it names no repository of the Hub."
            ) from None
    folder = remote.scratch()
    _fetch(text, folder)
    return folder


def verify(folder: Path) -> None:
    """Check the labels and the images of a shipped folder against their seals.

    Raises:
        ArtefactError: either is damaged or missing, or they do not belong together.
    """
    sealed = artefact.read(folder / LABELS).manifest
    images = image_table.read(folder / IMAGES, torch.device("cpu"))
    if sealed["images"] != images.digest:
        raise ArtefactError(f"The labels in {str(folder)!r} are for other images than lie there.")


def _fetch(place: str, folder: Path, revision: str = "") -> None:
    """The shipped folder at a place far away, into an existing, empty one."""
    if remote.is_url(place) and not is_named(place):
        if revision:
            raise UserError(f"A URL has no revision {revision!r}; only a repository has.")
        remote.fetch(place, folder, folder=True)
        return
    repository = Repository.parse(place, "dataset")
    if revision and repository.revision:
        raise UserError(f"{place!r} names its revision already; leave {revision!r} out.")
    repository = repository.at(revision or repository.revision)
    own = f"{LABELS}/{repository.config}".rstrip("/")
    cached = repository.fetch(["*"], [f"{LABELS}/*"])
    pinned = repository.at(cached.name)  # the commit that the cache calls the folder after
    pinned.fetch([f"{own}/*"], [f"{own}/*/*"])
    if not artefact.present(cached / own):
        configs = sorted(_configs(pinned.listing().files))
        shown = ", ".join(f"{repository.name}:{config}" for config in configs)
        raise UserError(
            f"{repository.name!r} holds no labels in {own}/. Beside it: {shown or 'nothing'}."
        )
    rest = _without_labels(_files(cached))
    labels = {f"{LABELS}/{f.name}": f for f in (cached / own).iterdir() if f.is_file()}
    for name, file in (rest | labels).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, folder / name)  # of links what they lead to


def _configs(names: Mapping[str, Stored]) -> set[str]:
    """The names of the sets of labels in a repository, beside the one in `labels/` itself."""
    parts = [name.split("/") for name in names]
    return {part[1] for part in parts if len(part) == 3 and part[0] == LABELS}


def _files(folder: Path) -> dict[str, Path]:
    """All files of a folder by their paths in it."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path for path in found}


def _labels(files: Mapping[str, Path]) -> dict[str, Path]:
    """The labels of a shipped folder, by their paths below that of labels."""
    start = f"{LABELS}/"
    return {n.removeprefix(start): file for n, file in files.items() if n.startswith(start)}


def _without_labels(files: Mapping[str, Path]) -> dict[str, Path]:
    return {name: file for name, file in files.items() if not name.startswith(f"{LABELS}/")}


def _first_difference(held: Mapping[str, Stored], files: Mapping[str, Path]) -> str:
    """The first file of images that only one side has, or has with other bytes; else empty."""
    start = f"{IMAGES}/"
    names = sorted(name for name in {*held, *files} if name.startswith(start))
    same = (n in held and n in files and held[n].is_same(files[n]) for n in names)
    return next((name for name, fits in zip(names, same, strict=True) if not fits), "")


def _place_of(held: Mapping[str, Stored], files: Mapping[str, Path]) -> str | None:
    """The folder of a repository that holds these very labels, if one does."""
    own = _labels(files)
    for place in (LABELS, *(f"{LABELS}/{config}" for config in sorted(_configs(held)))):
        there = {
            name.removeprefix(f"{place}/"): stored
            for name, stored in held.items()
            if os.path.dirname(name) == place
        }
        if there.keys() == own.keys() and all(there[n].is_same(own[n]) for n in own):
            return place
    return None


def _card_with(repository: Repository, held: Listing, config: str) -> bytes:
    """The repository's card, with a line that says how these further labels are opened."""
    card = ""
    if CARD in held.files:
        card = (repository.at(held.commit).fetch([CARD]) / CARD).read_text(encoding="utf-8")
    if MORE not in card:
        card = f"{card.rstrip()}\n{MORE}"
    return f'{card}- `open_labels("hf:{repository.name}:{config}")`\n'.encode()
