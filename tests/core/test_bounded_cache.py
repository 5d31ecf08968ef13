"""The cache that work folders share: bounded, and never taken from under a run."""

import os
import subprocess
import sys
import time

import pytest

from benchmark.core import bounded_cache
from benchmark.core.bounded_cache import BoundedCache, discard
from benchmark.core.cache import NotMade
from benchmark.core.errors import UserError
from benchmark.core.facts import fact, file_digests

KILOBYTE = 1000
HOLD = """
import sys, time
from pathlib import Path
from benchmark.core.bounded_cache import BoundedCache
BoundedCache(Path(sys.argv[1]), 10**9).make("kind", {"n": 1}, lambda folder: None)
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture(autouse=True)
def as_in_a_new_process(monkeypatch):
    """This process uses nothing yet."""
    monkeypatch.setattr(bounded_cache, "_in_use", {})


def build(folder):
    (folder / "pixels").write_bytes(bytes(KILOBYTE))


def let_go(monkeypatch):
    """As if the process that used stages had ended."""
    for handle in bounded_cache._in_use.values():
        os.close(handle)
    monkeypatch.setattr(bounded_cache, "_in_use", {})


def made(cache, monkeypatch, *numbers):
    """Stages, each used once, a little later than the one before."""
    folders = []
    for number in numbers:
        folders.append(cache.make("kind", {"n": number}, build))
        let_go(monkeypatch)
        time.sleep(0.02)
    return folders


def test_what_was_used_longest_ago_goes_first(tmp_path, monkeypatch, capsys):
    cache = BoundedCache(tmp_path, 5 * KILOBYTE)
    first, second, third = made(cache, monkeypatch, 1, 2, 3)
    made(cache, monkeypatch, 1)  # used again, not made
    made(cache, monkeypatch, 4)
    assert first.exists()
    assert not second.exists()
    assert third.exists()
    assert sum(cache.sizes().values()) <= 5 * KILOBYTE
    assert capsys.readouterr().err.startswith(f"{second.name} leaves the cache, 0.00 GB")


def test_what_this_process_uses_stays(tmp_path):
    cache = BoundedCache(tmp_path, 1)
    folders = [cache.make("kind", {"n": number}, build) for number in range(3)]
    assert all(folder.exists() for folder in folders)


def test_what_another_process_uses_stays_until_it_ends(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    folder = BoundedCache(tmp_path, 1).folder("kind", {"n": 1})
    assert not discard(folder)
    assert folder.exists()
    child.kill()
    child.wait()
    child.stdout.close()
    assert discard(folder)
    assert not folder.exists()


def test_a_cache_that_is_looked_at_stays_as_it_is(tmp_path, monkeypatch):
    looked = BoundedCache(tmp_path / "none", 1, look_only=True)
    with pytest.raises(NotMade):
        looked.make("kind", {"n": 1}, build)
    assert not looked.done("kind", {"n": 1})
    assert fact(looked, "mean", {"n": 1}, lambda: 3) is None
    assert not (tmp_path / "none").exists()


def test_facts_are_found_once_and_again_where_they_are_damaged(tmp_path):
    cache, asked = BoundedCache(tmp_path, 1), []

    def find():
        asked.append(1)
        return [0.5, len(asked)]

    assert fact(cache, "mean", {"n": 1}, find) == fact(cache, "mean", {"n": 1}, find) == [0.5, 1]
    (file,) = tmp_path.glob("facts/*")
    file.write_bytes(file.read_bytes().replace(b"0.5", b"0.7"))
    assert fact(cache, "mean", {"n": 1}, find) == [0.5, 2]


def test_files_are_read_again_only_where_they_changed(tmp_path):
    cache, file = BoundedCache(tmp_path / "cache", 1), tmp_path / "file"
    looked = BoundedCache(tmp_path / "cache", 1, look_only=True)
    file.write_bytes(b"one")
    assert file_digests(looked, [file]) == ["unread, 3 bytes"]
    before = file_digests(cache, [file])
    file.write_bytes(b"two")  # in the same moment, and of the same size
    assert file_digests(cache, [file]) != before


@pytest.mark.parametrize("told", ["many", "-1", "0", "nan", "1e30"])
def test_a_bound_that_is_none_is_refused(told, monkeypatch):
    monkeypatch.setenv(bounded_cache.MOST, told)
    with pytest.raises(UserError, match="LABELBENCH_CACHE_GB must be a positive number of gigab"):
        bounded_cache.most_bytes()


def test_the_folder_is_where_the_user_says(tmp_path, monkeypatch):
    monkeypatch.setenv(bounded_cache.FOLDER, str(tmp_path))
    assert bounded_cache.shared_folder() == tmp_path
    monkeypatch.delenv(bounded_cache.FOLDER)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert bounded_cache.shared_folder() == tmp_path / "xdg" / "labelbench"
