"""Repositories of a Hub that this machine serves: names, files of weights, errors."""

import pytest

from benchmark.core.errors import UserError
from benchmark.core.hub import Repository, Stored, weights_file

SUFFIXES = (".safetensors", ".pt")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("ann/labels", ("ann/labels", "", "", "")),
        ("hf:ann/labels", ("ann/labels", "", "", "")),
        ("hf://datasets/ann/labels@v1", ("ann/labels", "v1", "", "")),
        ("hf:ann/labels.2@main:top-10", ("ann/labels.2", "main", "top-10", "")),
        ("datasets/labels", ("datasets/labels", "", "", "")),
    ],
)
def test_names_of_datasets(text, parts):
    found = Repository.parse(text, "dataset")
    assert (found.name, found.revision, found.config, found.file) == parts
    assert Repository.parse(str(found), "dataset") == found


@pytest.mark.parametrize(
    "text",
    ["", "labels", "hf:labels", "a/b/c", "a/../b", "hf:a/b@", "-a/b", "a/b.", "a/b:c/d", "a b/c"],
)
def test_what_names_no_dataset(text):
    with pytest.raises(UserError, match=r"names no dataset repository .* Give hf:OWNER/NAME"):
        Repository.parse(text, "dataset")


def test_names_of_files_of_models():
    found = Repository.parse("hf:ann/net@v1/inner/net.pt", "model")
    assert (found.name, found.revision, found.file) == ("ann/net", "v1", "inner/net.pt")
    for text in ("hf:ann/net:config", "hf:ann/net/../x"):
        with pytest.raises(UserError, match="names no model repository"):
            Repository.parse(text, "model")


def test_a_file_is_known_by_either_digest(tmp_path):
    (tmp_path / "f").write_bytes(b"hello\n")
    git = "ce013625030ba8dba906f756967f9e9ca394464a"  # of git hash-object
    sha = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"  # of sha256sum
    assert Stored(6, git).is_same(tmp_path / "f")
    assert Stored(6, "of a pointer", sha).is_same(tmp_path / "f")
    assert not Stored(6, git[::-1]).is_same(tmp_path / "f")
    assert not Stored(6, git, sha[::-1]).is_same(tmp_path / "f")
    assert not Stored(5, git, sha).is_same(tmp_path / "f")


def test_files_of_weights(hub, monkeypatch):
    made = hub.make("models/ann/net", {"net.safetensors": b"a", "net.pt": b"b", "README.md": b"c"})
    made.tags["v1"] = made.commits[-1][0]
    assert weights_file("hf:ann/net", SUFFIXES).read_bytes() == b"a"
    assert weights_file("hf:ann/net", SUFFIXES).suffix == ".safetensors"
    assert weights_file("hf:ann/net/net.pt", SUFFIXES).read_bytes() == b"b"
    made.add({"net.safetensors": b"d", "other.safetensors": b"e"})
    assert weights_file("hf:ann/net@v1", SUFFIXES).read_bytes() == b"a"
    assert weights_file("hf:ann/net@main/net.safetensors", SUFFIXES).read_bytes() == b"d"
    with pytest.raises(UserError, match=r"Name one .*/FILE\. It holds: net.safetensors, other.saf"):
        weights_file("hf:ann/net@main", SUFFIXES)
    with pytest.raises(UserError, match=r"no file 'x\.pt'\. It holds: net.safetensors, other"):
        weights_file("hf:ann/net/x.pt", SUFFIXES)
    with pytest.raises(UserError, match="There is no model repository 'ann/nothing'"):
        weights_file("hf:ann/nothing/net.pt", SUFFIXES)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # the cache answers
    assert weights_file("hf:ann/net@v1/net.safetensors", SUFFIXES).read_bytes() == b"a"


def test_a_hub_that_fails_is_said(hub, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between its own tries
    place = Repository.parse("ann/labels", "dataset")
    held = place.create(private=False)
    with pytest.raises(UserError, match="the Hub does not take it"):
        place.commit({"README.md": b"---\nnever: ended\n"}, "x", held.commit)

    def fail():
        raise ConnectionResetError

    hub.before_commit = fail
    with pytest.raises(UserError, match=r"Cannot write 'ann/labels' .* run the same command again"):
        place.commit({"README.md": b"# x\n"}, "x", held.commit)
    assert place.listing() == held


def test_a_hub_that_is_not_to_be_asked_is_said(hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    told = r"^Cannot read 'ann/labels': HF_HUB_OFFLINE is set, so http.* is not asked\. Unset it"
    with pytest.raises(UserError, match=told):
        Repository.parse("ann/labels", "dataset").listing()


def test_a_listing_leaves_out_what_the_hub_itself_puts_there(hub):
    hub.make("datasets/ann/labels", {"a": b"x", "b.safetensors": b"yz"})
    held = Repository.parse("ann/labels", "dataset").listing()
    assert [(name, file.size, bool(file.sha256)) for name, file in held.files.items()] == [
        ("a", 1, False),
        ("b.safetensors", 2, True),
    ]
