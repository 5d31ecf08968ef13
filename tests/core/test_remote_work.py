"""Work folders behind URLs: stages and records that two machines share, and what goes wrong."""

import json
from pathlib import Path

import fsspec
import pytest

from benchmark.core import bounded_cache, remote
from benchmark.core.cache import SEAL, NotMade
from benchmark.core.errors import UserError
from benchmark.core.remote_cache import RemoteCache
from benchmark.core.remote_work import MARK, PENDING, STAGES, RemoteWork

KEY = {"a": 1}
URL = "memory://some/runs"


@pytest.fixture
def machine(tmp_path, memory, monkeypatch):
    """Be on the machine of a name, which has a cache of its own."""
    monkeypatch.setattr(remote, "WAITS", ())

    def at(name: str) -> RemoteWork:
        monkeypatch.setenv(bounded_cache.FOLDER, str(tmp_path / name))
        work = RemoteWork.at(URL)
        assert work is not None
        return work

    return at


def broken(*_, **__):
    raise ConnectionResetError("by peer")


def build(folder: Path) -> None:
    (folder / "inner").mkdir()
    (folder / "inner" / "x").write_bytes(b"x" * 100)


def refuse(folder: Path) -> None:
    raise AssertionError("it is there, and made again")


def write(work: RemoteWork, name: str, text: str = "{}") -> Path:
    file = work.folder / "records" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def test_a_stage_made_on_one_machine_is_had_on_another(machine, memory):
    here = RemoteCache(machine("here"))
    made = here.make("kind", KEY, build)
    base = f"/some/runs/{STAGES}/{made.name}"
    assert {n for n in memory.store if n.startswith(base)} == {
        f"{base}/{name}" for name in ("inner/x", "key.json", "made.json", SEAL)
    }
    there = RemoteCache(machine("there"))
    assert there.root != here.root
    looking = RemoteCache(there.work, look_only=True)
    assert looking.done("kind", KEY)
    assert not there.root.exists() or not [*there.root.glob("kind-*/*")]
    with pytest.raises(NotMade, match="not on this machine"):
        looking.make("kind", KEY, refuse)
    found = there.make("kind", KEY, refuse)
    assert (found / "inner" / "x").read_bytes() == b"x" * 100
    assert looking.make("kind", KEY, refuse) == found


def test_the_seal_goes_last_so_that_a_stage_is_whole_or_not_there(machine, memory, monkeypatch):
    order = []
    put = type(memory).put_file

    def noted(self, lpath, rpath, **options):
        order.append(Path(lpath).name)
        if len(order) == 3:
            broken()
        return put(self, lpath, rpath, **options)

    here = machine("here")
    with monkeypatch.context() as patched:
        patched.setattr(type(memory), "put_file", noted)
        made = RemoteCache(here).make("kind", KEY, build)
    assert made.is_dir()
    assert not RemoteCache(machine("there")).done("kind", KEY)
    here = machine("here")
    with monkeypatch.context() as patched:
        patched.setattr(type(memory), "put_file", noted)
        assert here.unsaved() == ""
    assert order[-1] == SEAL
    assert RemoteCache(machine("there")).done("kind", KEY)


def test_a_damaged_stage_is_said_made_again_and_replaced(machine, memory, capsys):
    name = RemoteCache(machine("here")).make("kind", KEY, build).name
    memory.pipe_file(f"/some/runs/{STAGES}/{name}/inner/x", b"y" * 100)
    there = RemoteCache(machine("there"))
    made = there.make("kind", KEY, build)
    assert "at memory://some/runs is damaged (inner/x was changed)" in capsys.readouterr().err
    assert (made / "inner" / "x").read_bytes() == b"x" * 100
    assert RemoteCache(machine("third")).make("kind", KEY, refuse)
    assert there.work.unsaved() == ""


def test_what_two_machines_made_at_once_stays_as_the_first_had_it(machine, memory):
    def other(folder: Path) -> None:
        (folder / "x").write_text("other")

    here, there = RemoteCache(machine("here")), RemoteCache(machine("there"))

    def slow(folder: Path) -> None:
        there.make("kind", KEY, other)
        build(folder)

    here.make("kind", KEY, slow)
    third = RemoteCache(machine("third")).make("kind", KEY, refuse)
    assert (third / "x").read_text() == "other"


def test_records_of_two_machines_are_all_there(machine, memory):
    here, there = machine("here"), machine("there")
    for work in (here, there):
        work.open("records", write=True)
    a, b = write(here, "a.json", "1"), write(there, "b.json", "2")
    here.put(a)
    machine("there").put(b)
    for name in ("here", "there"):
        work = machine(name)
        work.open("records", write=False)
        told = {p.name: p.read_text() for p in (work.folder / "records").iterdir()}
        assert told == {"a.json": "1", "b.json": "2"}
    assert here.fetch("records/b.json")
    assert not here.fetch("records/c.json")
    assert f"/some/runs/{MARK}" in memory.store


def test_what_was_removed_or_replaced_there_is_here_too(machine, memory, monkeypatch):
    monkeypatch.setattr("benchmark.core.remote_work.SETTLED", -1.0)
    here = machine("here")
    for name in ("a.json", "b.json", "c.json"):
        here.put(write(here, name, "old"))
    memory.rm_file("/some/runs/records/a.json")
    memory.pipe_file("/some/runs/records/b.json", b"newer")
    here.open("records", write=True)
    told = {p.name: p.read_text() for p in (here.folder / "records").iterdir()}
    assert told == {"b.json": "newer", "c.json": "old"}
    here.remove(here.folder / "records" / "c.json")
    assert "/some/runs/records/c.json" not in memory.store


def test_what_could_not_be_written_is_kept_said_and_goes_along_later(
    machine, memory, monkeypatch, capsys
):
    here = machine("here")
    here.open("records", write=True)
    with monkeypatch.context() as patched:
        patched.setattr(type(memory), "put_file", broken)
        made = RemoteCache(here).make("kind", KEY, build)
        here.put(write(here, "a.json", "1"))
        told = capsys.readouterr().err
        assert "Cannot write 'memory://some/runs/stages/" in told
        assert "ConnectionResetError: by peer" in told
        assert f"is kept in {here.folder}, and tried again later" in told
        assert here.unsaved() == (
            f"2 stages and records could not be written to {URL}: they are kept in {here.folder}. "
            "Run the same command again to copy them there."
        )
    assert not [n for n in memory.store if "records" in n or "stages" in n]
    here.open("records", write=True)
    assert (here.folder / "records" / "a.json").read_text() == "1"
    assert {"/some/runs/records/a.json", f"/some/runs/{STAGES}/{made.name}/{SEAL}"} < {
        *memory.store
    }
    assert here.unsaved() == ""
    assert not [path for path in (here.folder / PENDING).rglob("*") if path.is_file()]


def test_a_place_that_cannot_be_written_to_is_refused_at_the_start(machine, memory, monkeypatch):
    monkeypatch.setattr(type(memory), "put_file", broken)
    with pytest.raises(UserError, match=r"Cannot write 'memory://some/runs/labelbench\.txt'"):
        machine("here").open("records", write=True)
    monkeypatch.setattr(type(memory), "find", broken)
    with pytest.raises(UserError, match="Cannot read 'memory://some/runs/records'"):
        machine("here").open("records", write=False)


def test_only_what_is_at_the_url_leaves_to_make_room(machine, memory, monkeypatch):
    monkeypatch.setattr(bounded_cache, "discard", lambda folder: gone.append(folder.name) or True)
    monkeypatch.setenv(bounded_cache.MOST, "1e-9")
    gone: list[str] = []
    cache = RemoteCache(machine("here"))
    with monkeypatch.context() as patched:
        patched.setattr(type(memory), "put_file", broken)
        cache.make("kind", KEY, build)
        cache.evict()
    assert gone == []
    cache.work.put()
    cache.evict()
    assert gone == [cache.folder("kind", KEY).name]


@pytest.mark.parametrize(
    "place", ["https://host/x", "simplecache::s3://bucket/x", "s3://bucket/x?y=1", "HTTP://u:p@h/x"]
)
def test_urls_that_can_be_no_work_folder(place):
    with pytest.raises(UserError, match="a URL that can be written to, such as s3://"):
        RemoteWork.at(place)


def test_a_file_is_no_work_folder(tmp_path):
    (tmp_path / "x").write_text("")
    assert RemoteWork.at(tmp_path) is None
    with pytest.raises(UserError, match="is a file"):
        RemoteWork.at(tmp_path / "x")
    with pytest.raises(UserError, match="--work takes a folder or a URL, got ''"):
        RemoteWork.at("")


def test_the_network_is_tried_again(memory, monkeypatch):
    waited, tries = [], []
    monkeypatch.setattr(remote.time, "sleep", waited.append)
    info = type(memory).info

    def twice(self, path, **options):
        tries.append(path)
        if len(tries) < 3:
            broken()
        return info(self, path, **options)

    memory.pipe_file("/a", b"1")
    monkeypatch.setattr(type(memory), "info", twice)
    assert remote.exists("memory://a")
    assert (len(tries), waited) == (3, [1.0, 3.0])
    assert not remote.exists("memory://b")
    assert len(tries) == 4  # what is not there is not asked for twice


def test_no_message_shows_what_lets_others_in(memory, monkeypatch):
    monkeypatch.setenv("SOME_SECRET_KEY", "hush-hush")
    monkeypatch.setattr(remote, "WAITS", ())

    def telling(self, path, **options):
        raise OSError(f"hush-hush and pass-word and sig=abc at {path}")

    monkeypatch.setattr(type(memory), "info", telling)
    monkeypatch.setattr(fsspec.core, "url_to_fs", lambda url: (memory, "/x"))
    for url in ("memory://joan:pass-word@host/x?sig=abc", "memory://joan:pass-word@host/x"):
        with pytest.raises(UserError) as caught:
            remote.exists(url)
        assert "hush" not in str(caught.value)
        assert "pass-word" not in str(caught.value)
        assert "joan" not in str(caught.value)
    assert remote.shown("s3://joan:pass@host/x?sig=abc") == "s3://***@host/x?***"
    assert json.dumps(remote.shown("s3://bucket/x")) == '"s3://bucket/x"'
