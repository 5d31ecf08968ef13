"""Places behind URLs: in memory, on this disk, and on a web server on this machine."""

import functools
import threading
from contextlib import suppress
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import fsspec
import pytest
from tiny import contents

from benchmark.core import remote
from benchmark.core.errors import UserError


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(remote, "WAITS", ())


@pytest.fixture
def given(tmp_path):
    folder = tmp_path / "given"
    (folder / "inner").mkdir(parents=True)
    (folder / "a.txt").write_text("a")
    (folder / "inner" / "b.bin").write_bytes(bytes(range(256)) * 500)
    return folder


@pytest.fixture
def web(tmp_path):
    """A web server of `tmp_path`."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format, *args):
            pass

    answers = functools.partial(Quiet, directory=str(tmp_path))
    server = ThreadingHTTPServer(("127.0.0.1", 0), answers)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("memory://a/b", True),
        ("s3://bucket/a.jsonl", True),
        ("simplecache::s3://bucket/a", True),
        ("results/a.jsonl", False),
        ("hf:ann/labels", False),
        ("C:\\data", False),
        ("c://data", False),
    ],
)
def test_what_a_url_is(text, expected):
    assert remote.is_url(text) == expected


def test_a_folder_is_put_and_fetched_whole(memory, given, tmp_path):
    for url in ("memory://some/where", f"file://{tmp_path}/else/where"):
        remote.put_folder(given, url)
        remote.fetch(url, tmp_path / url[:4])
        assert contents(tmp_path / url[:4]) == contents(given)
        with pytest.raises(UserError, match="exists already; name a new folder"):
            remote.put_folder(given, url)
    assert sorted(memory.store) == ["/some/where/a.txt", "/some/where/inner/b.bin"]
    assert [path.name for path in (tmp_path / "else").iterdir()] == ["where"]


@pytest.mark.parametrize("url", ["memory://far/away", "file://{}/far/away"])
def test_a_folder_that_breaks_off_leaves_nothing(memory, given, tmp_path, monkeypatch, url):
    url = url.format(tmp_path)
    system = type(fsspec.core.url_to_fs(url)[0])
    put = system.put_file

    def broken(self, lpath, rpath, **options):
        if lpath.endswith("b.bin"):
            raise ConnectionResetError("by peer")
        return put(self, lpath, rpath, **options)

    monkeypatch.setattr(system, "put_file", broken)
    with pytest.raises(UserError, match=r"Cannot write .*ConnectionResetError: by peer"):
        remote.put_folder(given, url)
    assert list(memory.store) == []
    assert not (tmp_path / "far").exists() or not list((tmp_path / "far").iterdir())


@pytest.mark.parametrize("url", ["memory://far/some.jsonl", "file://{}/far/some.jsonl"])
def test_a_file_is_made_and_changed_as_if_it_were_here(memory, tmp_path, monkeypatch, url):
    url = url.format(tmp_path)
    with remote.edited(url) as file:
        assert (file.name, file.exists()) == ("some.jsonl", False)
        file.write_text("one\n")
    with remote.edited(url) as file:
        assert file.read_text() == "one\n"
        file.write_text("one\ntwo\n")
    with suppress(ZeroDivisionError), remote.edited(url) as file:
        file.write_text("three\n")
        raise ZeroDivisionError
    with remote.edited(url) as file:  # what is as it was is not written
        monkeypatch.setattr(type(fsspec.core.url_to_fs(url)[0]), "put_file", None)
    remote.fetch(url, tmp_path / "copy")
    assert (tmp_path / "copy").read_text() == "one\ntwo\n"
    folder = remote.scratch() / "far"
    remote.fetch(url.rpartition("/")[0], folder)
    assert [path.name for path in folder.iterdir()] == ["some.jsonl"]


def test_the_web_is_read(web, given, tmp_path):
    remote.fetch(f"{web}/given/inner/b.bin?download=1", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == (given / "inner" / "b.bin").read_bytes()
    assert remote.name_of(f"{web}/given/inner/b.bin?download=1") == "b.bin"
    remote.fetch(f"{web}/given/", tmp_path / "slash")
    remote.fetch(f"{web}/given", tmp_path / "told", folder=True)
    assert contents(tmp_path / "slash") == contents(tmp_path / "told") == contents(given)
    with pytest.raises(UserError, match="There is nothing at"):
        remote.fetch(f"{web}/nothing.jsonl", tmp_path / "x")
    with pytest.raises(UserError, match="can only be read"):
        remote.put_folder(given, f"{web}/y")
    with pytest.raises(UserError, match="can only be read"), remote.edited(f"{web}/y"):
        pass


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("gopher://host/x", "Cannot read 'gopher://host/x' .*Protocol not known"),
        ("memory://nowhere", "There is nothing at 'memory://nowhere'"),
        ("http://127.0.0.1:9/x.jsonl", "Cannot read 'http://127.0.0.1:9/x.jsonl'"),
    ],
)
def test_what_cannot_be_read_is_said(memory, tmp_path, url, words):
    with pytest.raises(UserError, match=words):
        remote.fetch(url, tmp_path / "x")


def test_a_package_that_is_missing_is_named(tmp_path, monkeypatch):
    def absent(url):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("fsspec.core.url_to_fs", absent)
    with pytest.raises(UserError, match=r"needs a package .*Install s3fs to access S3"):
        remote.fetch("s3://bucket/x", tmp_path / "x")


def test_a_name_that_leads_out_of_the_folder_is_refused(memory, tmp_path, monkeypatch):
    memory.pipe_file("/bad/a.txt", b"a")
    found = {"/bad/../../a": {"size": 1}}
    monkeypatch.setattr(type(memory), "find", lambda self, path, **options: found)
    with pytest.raises(UserError, match=r"holds a file called '\.\./\.\./a'"):
        remote.fetch("memory://bad", tmp_path / "x", folder=True)
