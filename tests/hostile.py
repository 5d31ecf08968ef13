"""Damage as others do it: JSON values changed in one place, and files in a few bytes."""

import copy
import hashlib
import json
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from benchmark.labels import packed

DEEP: Any = []
for _ in range(60):
    DEEP = [DEEP]

VALUES = st.one_of(
    st.sampled_from(
        [None, True, False, 0, 1, -1, 10**9, 2**53 + 1, 2**63, 10**40, 0.0, -0.5, 1e308]
    ),
    st.sampled_from(
        [float("nan"), float("inf"), 5e-324, "", "x" * 5000, "../../x", "\x00", "\ud800"]
    ),
    st.sampled_from(
        ["[k=2", "a[b=c]", "draw=1", "random[draw=99999999999999999999]", "1e5", "nan"]
    ),
    st.sampled_from(
        [[], {}, [[]], {"": ""}, DEEP, [0.5] * 300, [None] * 60, ["x"], {"a": {"b": []}}]
    ),
    st.integers(),
    st.floats(allow_subnormal=False),
    st.text(max_size=20),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The ways to all values inside a JSON value, and its own; of long lists the first few."""
    found = [path]
    inside = value.items() if isinstance(value, dict) else ()
    if isinstance(value, list):
        inside = enumerate(value[:3])
    for name, item in inside:
        found += places(item, (*path, name))
    return found


@st.composite
def damaged(draw: st.DrawFn, whole: Any) -> Any:
    """A copy of a JSON value that is wrong, or at least other, in one to three places."""
    made = copy.deepcopy(whole)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(places(made)))
        if not path:
            continue
        parent = made
        for name in path[:-1]:
            parent = parent[name]
        kind = draw(st.sampled_from(["replace", "replace", "remove", "add", "swap"]))
        if kind == "replace":
            parent[path[-1]] = copy.deepcopy(draw(VALUES))
        elif kind == "remove":
            del parent[path[-1]]
        elif kind == "add" and isinstance(parent, dict):
            parent[draw(st.text(max_size=8))] = copy.deepcopy(draw(VALUES))
        elif kind == "swap" and isinstance(parent, dict):
            other = draw(st.sampled_from(sorted(parent)))
            parent[path[-1]], parent[other] = parent[other], parent[path[-1]]
    return made


@st.composite
def torn(draw: st.DrawFn, whole: bytes) -> bytes:
    """Bytes with a few of them changed, a piece gone or twice, or an end missing."""
    raw = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(raw) - 1)))
        kind = draw(st.sampled_from(["flip", "cut", "drop", "twice"]))
        piece = draw(st.integers(1, 40))
        if kind == "flip" and raw:
            raw[at] ^= draw(st.integers(1, 255))
        elif kind == "cut":
            del raw[at:]
        elif kind == "drop":
            del raw[at : at + piece]
        else:
            raw[at:at] = raw[at : at + piece]
    return bytes(raw)


def manifest_of(folder: Path) -> Path:
    """The file of an artefact that holds its manifest."""
    return next(f for n in ("labels.packed", "labels.json") if (f := folder / n).exists())


def told_by(labels: Path) -> Any:
    """What a `labels.packed` says, as a `labels.json` would."""
    raw = labels.read_bytes()
    told = json.loads(zlib.decompressobj(packed.WINDOW_BITS, packed.WORDS).decompress(raw[65:]))
    return {"format": raw[0], "images": raw[1:33].hex(), "classes": raw[33:65].hex(), **told}


def reseal(labels: Path, change: Callable[[Any], Any]) -> None:
    """Change what a `labels.json` or `labels.packed` says, and seal it as its writer would.

    Args:
        change: of the parsed file without its seal, in place; or gives another value.
    """
    if labels.name == packed.FILE:
        _reseal_packed(labels, change)
        return
    told = json.loads(labels.read_text())
    del told["seal"]
    changed = change(told)
    text = json.dumps(told if changed is None else changed, separators=(",", ":")).encode()
    seal = hashlib.sha256(text).hexdigest()[:16].encode()
    labels.write_bytes(text[:-1] + b',"seal":"%s"}' % seal)


def _reseal_packed(labels: Path, change: Callable[[Any], Any]) -> None:
    raw, told = labels.read_bytes(), told_by(labels)
    digests = {"images": raw[1:33], "classes": raw[33:65]}
    opened = zlib.decompressobj(packed.WINDOW_BITS, packed.WORDS)
    opened.decompress(raw[65:])
    changed = change(told)
    told = told if changed is None else changed
    version = raw[0]
    if isinstance(told, dict):  # what can stand where these do, goes there; the rest into the JSON
        found = told.pop("format", None)
        version = found if isinstance(found, int) and 0 <= found < 256 else version
        for name in digests:
            if isinstance(text := told.get(name), str) and re.fullmatch("[0-9a-f]{64}", text):
                digests[name] = bytes.fromhex(told.pop(name))
    text = json.dumps(told, separators=(",", ":")).encode()
    coder = zlib.compressobj(9, zlib.DEFLATED, packed.WINDOW_BITS, zdict=packed.WORDS)
    body = bytes([version]) + b"".join(digests.values()) + coder.compress(text) + coder.flush()
    body += opened.unused_data[:-8]
    labels.write_bytes(body + hashlib.sha256(body).digest()[:8])
