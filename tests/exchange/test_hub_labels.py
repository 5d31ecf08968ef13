"""Shipped folders on a Hub that this machine serves, and behind URLs."""

import json
import shutil

import pytest
import torch
from tiny import contents, run_main, run_tiny, shipped_folder

from benchmark import open_labels
from benchmark.core.errors import ArtefactError, UserError
from benchmark.core.hub import Repository
from benchmark.exchange import hub as labels_hub
from benchmark.methods.hard import Hard
from benchmark.methods.smoothed import Smoothed
from benchmark.methods.soft import Soft

PLACE = "datasets/ann/labels"


@pytest.fixture
def soft(tmp_path):
    return shipped_folder(tmp_path / "soft", Soft)


def beside(soft, name, method):
    """Labels of another method for the very images of `soft`."""
    folder = shipped_folder(soft.with_name(name), method)
    shutil.rmtree(folder / "images")
    shutil.copytree(soft / "images", folder / "images")
    return folder


def push(folder, name="ann/labels"):
    return labels_hub.push(folder, Repository.parse(name, "dataset"))


def same_labels(labels, folder):
    other = open_labels(folder / "labels", folder / "images", "cpu", "fp32")
    for (images, targets), (own, owned) in zip(labels.epoch(1), other.epoch(1), strict=True):
        assert torch.equal(images, own)
        assert torch.equal(targets.rows, owned.rows)


def test_what_is_pushed_and_pulled_is_the_same_to_the_byte(hub, soft, tmp_path):
    before = contents(soft)
    assert "pushed 3 files to ann/labels, labels in labels/" in push(soft)
    hosted = hub.repositories[PLACE]
    assert len(hosted.commits) == 2  # its making, and one more
    assert {n: d for n, d in hosted.files.items() if n != ".gitattributes"} == before
    assert len(hub.stored) == 1  # the images; the rest lies in git
    labels_hub.pull("ann/labels", tmp_path / "pulled")
    assert contents(tmp_path / "pulled") == before
    same_labels(open_labels("hf:ann/labels", device="cpu", precision="fp32"), soft)
    same_labels(open_labels("ann/labels", device="cpu", precision="fp32"), soft)
    assert "holds these labels already, in labels/" in push(soft)
    assert len(hosted.commits) == 2


def test_further_labels_for_the_same_images_are_a_configuration(hub, soft, tmp_path):
    push(soft)
    other = beside(soft, "other", Hard)
    asked = len(hub.asked)
    assert "labels in labels/hard" in push(other)
    assert not [line for line in hub.asked[asked:] if line.startswith("PUT")]
    card = hub.repositories[PLACE].files["README.md"].decode()
    assert card.startswith("---\npretty_name: tiny")
    assert card.endswith('- `open_labels("hf:ann/labels:hard")`\n')
    same_labels(open_labels("hf:ann/labels:hard", device="cpu", precision="fp32"), other)
    same_labels(open_labels("hf:ann/labels", device="cpu", precision="fp32"), soft)
    labels_hub.pull("ann/labels:hard", tmp_path / "pulled")
    assert contents(tmp_path / "pulled/labels") == contents(other / "labels")
    assert "already, in labels/hard/" in push(other)
    again = beside(soft, "again", Smoothed)
    with pytest.raises(UserError, match=r"holds other labels called 'hard'.*--push ann/labels:CON"):
        push(again, "ann/labels:hard")
    assert "labels in labels/hard-2" in push(again, "ann/labels:hard-2")
    with pytest.raises(
        UserError, match=r"no labels in labels/x/. Beside it: ann/labels:hard, ann/"
    ):
        open_labels("hf:ann/labels:x", device="cpu")


def test_a_repository_is_for_one_set_of_images(hub, soft, tmp_path):
    push(soft)
    before = dict(hub.repositories[PLACE].files)
    other = shipped_folder(tmp_path / "other", Hard, images=10)
    with pytest.raises(UserError, match=r"other images: images/train-\S+.parquet differs"):
        push(other)
    assert hub.repositories[PLACE].files == before


def test_an_upload_that_breaks_off_commits_nothing_and_is_gone_on_with(hub, soft, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between its own tries
    hub.drop = True
    with pytest.raises(UserError, match=r"Cannot write .* nothing of this was committed"):
        push(soft)
    hosted = hub.repositories[PLACE]
    assert [*hosted.files] == [".gitattributes"]
    with pytest.raises(UserError, match="holds no labels in labels/"):
        open_labels("hf:ann/labels", device="cpu")
    hub.drop = False
    push(soft)
    assert len(hosted.commits) == 2
    assert {n: d for n, d in hosted.files.items() if n != ".gitattributes"} == contents(soft)


def test_what_others_push_at_the_same_time_is_not_overwritten(hub, soft):
    place = Repository.parse("ann/labels", "dataset")
    place.create(private=False)
    hosted = hub.repositories[PLACE]
    hub.before_commit = lambda: hosted.add(hosted.files | {"images/x.parquet": b"x"})
    with pytest.raises(UserError, match="changed by somebody else"):
        push(soft)
    assert "labels/labels.packed" not in hosted.files


@pytest.mark.parametrize("damage", ["labels", "images", "card", "lost"])
def test_what_is_damaged_is_neither_pushed_nor_kept(hub, soft, tmp_path, damage):
    push(soft)
    files = hub.repositories[PLACE].files
    name = {"labels": "labels/labels.packed", "card": "README.md"}.get(
        damage, "images/train-00000-of-00001.parquet"
    )
    changed = files[name][:-1] + b"?"
    if damage == "lost":
        hub.repositories[PLACE].add({n: d for n, d in files.items() if n != name})
        (soft / name).unlink()
    else:
        hub.repositories[PLACE].add(files | {name: changed})
        (soft / name).write_bytes(changed)
    if damage == "card":  # which is sealed by nothing
        labels_hub.pull("ann/labels", tmp_path / "pulled")
        return
    with pytest.raises(ArtefactError):
        labels_hub.pull("ann/labels", tmp_path / "pulled")
    assert not [path for path in tmp_path.iterdir() if "pulled" in path.name]
    with pytest.raises(ArtefactError):
        push(soft, "ann/other")
    assert "datasets/ann/other" not in hub.repositories


def test_an_older_revision_is_pulled(hub, soft, tmp_path):
    push(soft)
    first = hub.repositories[PLACE].commits[-1][0]
    hub.repositories[PLACE].tags["v1"] = first
    hub.repositories[PLACE].add({"README.md": b"gone"})
    for number, (place, revision) in enumerate(
        [("ann/labels@v1", ""), ("ann/labels", "v1"), ("hf:ann/labels", first)]
    ):
        labels_hub.pull(place, tmp_path / str(number), revision)
        assert contents(tmp_path / str(number)) == contents(soft)
    with pytest.raises(UserError, match="has no revision 'v2'"):
        labels_hub.pull("ann/labels@v2", tmp_path / "x")
    with pytest.raises(UserError, match="names its revision already"):
        labels_hub.pull("ann/labels@v1", tmp_path / "x", "v2")


def test_what_the_cache_holds_opens_without_the_hub(hub, soft, tmp_path, monkeypatch, capsys):
    push(soft)
    open_labels("hf:ann/labels", device="cpu")
    assert "cache" not in capsys.readouterr().err
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    same_labels(open_labels("hf:ann/labels", device="cpu", precision="fp32"), soft)
    assert "hf:ann/labels as this machine's cache has it. Cannot read" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"Cannot read 'ann/other' at http://127.0.0.1:9"):
        open_labels("hf:ann/other", device="cpu")


def test_a_path_goes_before_a_repository_of_its_name(hub, soft, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(soft, tmp_path / "ann" / "here")
    same_labels(open_labels("ann/here", device="cpu", precision="fp32"), soft)
    assert hub.asked == []
    with pytest.raises(UserError, match="no folder 'no/such/place', and it names no repository"):
        open_labels("no/such/place", device="cpu")
    with pytest.raises(UserError, match="does not hold both `labels` and `images`"):
        open_labels(tmp_path / "ann" / "nowhere", device="cpu")


def test_urls_of_folders(memory, soft, tmp_path):
    memory.put(f"{soft}/", "/given", recursive=True)
    same_labels(open_labels("memory://given", device="cpu", precision="fp32"), soft)
    labels_hub.pull("memory://given/", tmp_path / "pulled")
    assert contents(tmp_path / "pulled") == contents(soft)
    with pytest.raises(UserError, match="A URL has no revision 'v1'"):
        labels_hub.pull("memory://given", tmp_path / "x", "v1")
    with pytest.raises(UserError, match="nothing at 'memory://nowhere'"):
        labels_hub.pull("memory://nowhere", tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_the_commands(hub, memory, tmp_path):
    work = tmp_path / "work"
    run_tiny(work, "--methods", "soft,hard")
    files = {json.loads(f.read_text())["cell"]["method"]: f for f in (work / "records").iterdir()}
    soft, hard = files["soft"], files["hard"]
    code, out, err = run_main(
        "ship", soft, tmp_path / "soft", "--work", work, "--push", "ann/labels", "--private"
    )
    assert code == 0, err
    assert out.splitlines()[0].startswith(f"wrote {tmp_path / 'soft' / 'labels'} and ")
    assert hub.repositories[PLACE].private
    code, out, err = run_main("ship", hard, "--work", work, "--push", "ann/labels:plain")
    assert (code, "labels in labels/plain" in out) == (0, True), err
    assert run_main("ship", soft, "memory://url-given", "--work", work)[0] == 0
    for place, to in [("ann/labels", "a"), ("memory://url-given", "b")]:
        code, out, err = run_main("pull", place, tmp_path / to)
        assert code == 0, err
        shipped = contents(tmp_path / "soft")
        pulled = contents(tmp_path / to)
        assert pulled.keys() == shipped.keys()
        assert pulled.pop("README.md").startswith(shipped.pop("README.md").rstrip())
        assert pulled == shipped
    assert run_main("pull", "ann/labels", tmp_path / "a")[0] == 2  # is there already
    assert run_main("ship", soft, "memory://url-given", "--work", work)[0] == 2
    assert run_main("ship", soft, "--work", work)[0] == 2
    code, _, err = run_main("ship", soft, tmp_path / "c", "--work", work, "--private")
    assert (code, "name one with --push" in err) == (2, True)


@pytest.mark.parametrize(
    ("name", "token", "words"),
    [
        ("ann/labels", None, "takes a token of .* set HF_TOKEN"),
        ("ann/labels", "hf_wrong", "token is not known .* Set HF_TOKEN anew"),
        (
            "bob/labels",
            "hf_of_a_test",
            "may not write 'bob/labels' .*403: You don't have",
        ),
        ("labels", "hf_of_a_test", "'labels' names no dataset repository"),
        ("ann/la--bels", "hf_of_a_test", "names no dataset repository"),
        ("ann/labels@v1", "hf_of_a_test", "OWNER/NAME alone"),
    ],
)
def test_what_keeps_a_push_away_is_said(hub, soft, monkeypatch, name, token, words):
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    else:
        monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(UserError, match=words):
        push(soft, name)
    assert hub.repositories == {}


def test_what_keeps_a_pull_away_is_said(hub, soft, tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"no dataset repository 'ann/nothing' .* may see\. "):
        labels_hub.pull("ann/nothing", tmp_path / "x")
    push(soft)
    hub.repositories[PLACE].private = True
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(UserError, match="that you may see without a token"):
        labels_hub.pull("ann/labels", tmp_path / "x")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    code, _, err = run_main("pull", "ann/labels", tmp_path / "x")
    assert code == 2
    assert "Cannot read 'ann/labels' at http://127.0.0.1:9" in err
    assert "Traceback" not in err
    assert not (tmp_path / "x").exists()
