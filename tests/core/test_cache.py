import errno
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmark.core import cache, files
from benchmark.core.cache import Cache
from benchmark.core.files import digest, disk_is_full, write_atomic

KEY = {"a": 1}


def names(folder):
    return sorted(path.name for path in folder.rglob("*") if path.suffix != ".lock")


def test_a_stage_appears_whole_and_is_made_once(tmp_path):
    made = Cache(tmp_path)
    seen = []

    def build(folder):
        (folder / "x").write_text("1")
        seen.append(made.done("kind", KEY))

    assert not made.done("kind", KEY)
    for _ in range(2):
        folder = made.make("kind", KEY, build)
    assert seen == [False]
    assert made.done("kind", KEY)
    assert folder == made.folder("kind", KEY)
    assert names(tmp_path) == ["key.json", folder.name, "made.json", "seal.json", "x"]


def test_what_a_killed_process_left_of_a_file_is_not_sealed_into_the_stage(tmp_path):
    made = Cache(tmp_path)
    partial = made.folder("kind", KEY).with_name(made.folder("kind", KEY).name + ".partial")
    (partial / "inner").mkdir(parents=True)
    (partial / "checkpoint").write_text("kept")
    for name in (".x.123.partial", "inner/.y.4.partial"):
        (partial / name).write_text("half")

    def build(folder: Path) -> None:
        (folder / "x").write_text("1")

    folder = made.make("kind", KEY, build)
    assert names(folder) == ["checkpoint", "inner", "key.json", "seal.json", "x"]


def test_other_keys_and_kinds_lie_apart(tmp_path):
    made = Cache(tmp_path)
    assert made.folder("kind", {"a": 1, "b": 2}) == made.folder("kind", {"b": 2, "a": 1})
    assert len({made.folder("kind", {"a": 1}), made.folder("kind", {"a": 2})}) == 2
    assert made.folder("kind", KEY).name.startswith("kind-")


def test_a_failing_build_leaves_nothing(tmp_path):
    def build(folder):
        (folder / "half").write_text("1")
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        Cache(tmp_path).make("kind", KEY, build)
    assert names(tmp_path) == []


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), signal.SIGKILL)", "raise KeyboardInterrupt"])
def test_a_killed_build_is_taken_up_by_the_next(tmp_path, end):
    program = f"""
import os, signal, sys
from pathlib import Path
from benchmark.core.cache import Cache

def build(folder):
    (folder / "checkpoint").write_text("half-way")
    {end}

Cache(Path(sys.argv[1])).make("kind", {KEY}, build)
"""
    killed = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True)
    assert killed.returncode in (-signal.SIGKILL, -signal.SIGINT, 130)
    made = Cache(tmp_path)
    assert not made.done("kind", KEY)
    found = []
    made.make("kind", KEY, lambda folder: found.append((folder / "checkpoint").read_text()))
    assert found == ["half-way"]
    assert names(tmp_path) == ["checkpoint", "key.json", made.folder("kind", KEY).name, "seal.json"]


def test_runs_at_once_make_a_stage_once(tmp_path):
    builds = []

    def build(folder):
        time.sleep(0.05)
        builds.append(folder)

    with ThreadPoolExecutor(4) as pool:
        results = [pool.submit(Cache(tmp_path).make, "kind", KEY, build) for _ in range(4)]
    assert len({result.result() for result in results}) == 1
    assert len(builds) == 1


def test_write_atomic_replaces_or_leaves_the_old(tmp_path, monkeypatch):
    file = tmp_path / "deep" / "file"
    write_atomic(file, b"old")

    def no_room(handle):
        assert file.read_bytes() == b"old"
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", no_room)
        with pytest.raises(OSError, match="No space"):
            write_atomic(file, b"new")
    assert names(file.parent) == ["file"]
    assert file.read_bytes() == b"old"
    write_atomic(file, b"new")
    assert file.read_bytes() == b"new"


def test_digest_does_not_depend_on_the_order_of_keys():
    assert digest({"a": 1, "b": [1, None]}) == digest({"b": [1, None], "a": 1})
    assert len({digest(value) for value in (1, "1", [1], {"1": 1}, True, None)}) == 6


def test_a_full_disk_is_told_from_other_errors():
    def wrapped(inner):
        try:
            try:
                raise inner
            except OSError:
                raise RuntimeError("unexpected position")  # noqa: B904 (as torch.save does)
        except RuntimeError as error:
            return error

    full = OSError(errno.ENOSPC, "")
    assert disk_is_full(full)
    assert disk_is_full(OSError(errno.EDQUOT, ""))
    assert disk_is_full(RuntimeError("I/O error: No space left on device (os error 28)"))
    assert disk_is_full(wrapped(full))
    assert not disk_is_full(wrapped(OSError(errno.EACCES, "")))
    assert not disk_is_full(FileNotFoundError(errno.ENOENT, ""))


def test_hold_takes_the_room_at_once(tmp_path):
    file = tmp_path / "sparse"
    with file.open("wb") as empty:
        empty.truncate(1 << 20)
    before = file.stat().st_blocks
    files.hold(file)
    assert file.stat().st_size == 1 << 20
    assert file.stat().st_blocks * 512 >= 1 << 20 > before * 512


@pytest.fixture
def made(tmp_path):
    """A finished stage of two files, and how often it was built."""
    stages, builds = Cache(tmp_path / "stages"), []

    def build(folder):
        (folder / "deep").mkdir()
        (folder / "deep" / "a").write_bytes(bytes(100))
        (folder / "b").write_text("b")
        builds.append(folder)

    def make():
        return stages.make("kind", KEY, build)

    make()
    return make, builds


def as_in_a_new_process(monkeypatch):
    monkeypatch.setattr("benchmark.core.cache._checked", {})


DAMAGE = {
    "a bit": lambda f: (f / "deep" / "a").write_bytes(bytes(99) + b"\1"),
    "truncated": lambda f: (f / "deep" / "a").write_bytes(bytes(99)),
    "emptied": lambda f: (f / "b").write_text(""),
    "gone": lambda f: (f / "b").unlink(),
    "more": lambda f: (f / "more").write_text("x"),
    "linked": lambda f: ((f / "b").unlink(), (f / "b").symlink_to("deep/a")),
    "no seal": lambda f: (f / "seal.json").unlink(),
    "no JSON": lambda f: (f / "seal.json").write_text("{"),
    "deep JSON": lambda f: (f / "seal.json").write_text("[" * 100_000),
    "other seal": lambda f: (f / "seal.json").write_text(
        (f / "seal.json").read_text().replace('"bytes": 1', '"bytes": 2')
    ),
}


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("later", [True, False])
def test_a_damaged_stage_is_made_again_with_one_line(made, how, later, capsys, monkeypatch):
    make, builds = made
    folder = make()
    assert len(builds) == 1
    DAMAGE[how](folder)
    if later:
        as_in_a_new_process(monkeypatch)
    assert make() == folder
    assert len(builds) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{folder.name} is damaged (")
    assert line.endswith("): it is made again")
    assert cache.damage(folder) is None
    assert (folder / "deep" / "a").read_bytes() == bytes(100)
    assert not list(folder.parent.glob("*.damaged"))


def test_a_seal_is_checked_byte_by_byte_once_a_process(made, monkeypatch):
    make, _ = made
    read, digest_of = [], cache.file_digest
    monkeypatch.setattr(cache, "file_digest", lambda file: read.append(file) or digest_of(file))
    as_in_a_new_process(monkeypatch)
    folder = make()
    assert len(read) == 4  # the two files, the key, and how long it took
    assert make() == folder
    assert len(read) == 4
    os.utime(folder / "b", (1, 1))
    make()
    assert len(read) == 8
