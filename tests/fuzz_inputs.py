"""What `fuzz_readers.py` feeds to the readers: for each, whole inputs to start from, and the read.

A file that is sealed is sealed again after it was changed, so that its reader gets to see it.
"""

import hashlib
import io
import json
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from synthetic import HELLO, SEVERAL, record
from test_convert import labels as run_labels
from test_convert import ship
from test_official import CLASSES, IMAGES, SIDE, by_epoch, drawn, flat, pruned
from test_record import old
from test_speed_records import profile, ratio
from tiny import NETWORK, dataset_of, pictures, tiny_task

from benchmark.core import cache
from benchmark.core.cache import Cache
from benchmark.core.hub import Repository
from benchmark.data import distilled
from benchmark.data.place import Place
from benchmark.data.tensors_of_others import read_soft_labels, read_tensors
from benchmark.exchange import image_table
from benchmark.exchange.convert import inspect, read_images
from benchmark.exchange.official import open_folder
from benchmark.exchange.shipping import open_labels
from benchmark.experiment.grid import CONFIGS, cells, make_grid, read_config
from benchmark.labels import artefact
from benchmark.methods.lpqld import LPQLD
from benchmark.methods.soft import Soft
from benchmark.methods.teacher import ShippedTeacher
from benchmark.models import teachers
from benchmark.records import measurements, store
from benchmark.records.collection import line
from benchmark.records.comparison import comparisons
from benchmark.report.leaderboard import tables
from benchmark.report.verify import verify_records

CPU = torch.device("cpu")


@dataclass
class Reader:
    """Inputs to start from, and what reads one.

    Attributes:
        whole: whether the inputs are files as their writers write them, which must be taken.
    """

    seeds: list[bytes]
    read: Callable[[bytes], object]
    whole: bool = True


def records(folder: Path) -> Reader:
    def read(raw: bytes) -> None:
        for table in tables(comparisons([store.parse(raw), *SEVERAL[:3]])):
            table.text()

    return Reader([json.dumps(made).encode() for made in (record("hard"), HELLO, old())], read)


def measured(folder: Path) -> Reader:
    return Reader([json.dumps(made).encode() for made in (profile(), ratio())], measurements.parse)


def collection(folder: Path) -> Reader:
    folder.mkdir()
    file = folder / "some.jsonl"

    def read(raw: bytes) -> None:
        file.write_bytes(raw)
        store.read([file])
        verify_records([file])

    return Reader(["".join(map(line, SEVERAL[:4])).encode()], read)


def config(folder: Path) -> Reader:
    folder.mkdir()
    file = folder / "some.toml"

    def read(raw: bytes) -> None:
        file.write_bytes(raw)
        for cell in islice(cells(make_grid(read_config(file))), 2000):
            assert cell.label

    return Reader([path.read_bytes() for path in sorted(CONFIGS.glob("*.toml"))], read)


def seal(folder: Path) -> Reader:
    folder.mkdir()
    (folder / "some.bin").write_bytes(b"some")
    cache.seal(folder)
    file = folder / cache.SEAL
    whole = file.read_bytes()

    def read(raw: bytes) -> None:
        file.write_bytes(raw)
        cache.damage(folder)
        cache._has_its_sizes(folder)

    return Reader([whole], read)


# Artefacts


def _replayed(folder: Path) -> None:
    opened = open_labels(folder / "labels", folder / "images", "cpu")
    for epoch in (0, opened.epochs - 1):
        for images, targets in islice(opened.epoch(epoch), 2):
            assert images.isfinite().all()
            assert targets.rows.isfinite().all()


def _artefact(folder: Path, kind: str) -> Path:
    folder.mkdir()
    if kind == "imported":
        theirs, _ = ship(folder, LPQLD, keep=0.5, k=3)
        run_labels("export", theirs, folder / "official")
        parts = [folder / "official" / part for part in ("labels", "images")]
        run_labels("import", *parts, folder / "back", "--recipe", "quick")
        return folder / "back"
    method, options = {
        "soft": (Soft, {}),
        "pool": (LPQLD, {"keep": 0.5, "quantise": "adaptive", "values": "int4"}),
        "network": (ShippedTeacher, {"shrink": "prune", "weights": "int8", "bytes": 2400}),
    }[kind]
    task = tiny_task(folder / "scratch")
    source = method.fit(task, method.resolve_options(method.Options(**options), task.shape, None))
    for part in ("labels", "images"):
        (folder / part).mkdir()
    source.save(folder / "labels")
    distilled.write(folder / "images", task.images)
    return folder


def _sealed(told: bytes) -> bytes:
    end = hashlib.sha256(told).hexdigest()[:16].encode()
    return told[:-1] + b',"seal":"%s"}' % end


def _manifest(folder: Path, kind: str) -> Reader:
    made = _artefact(folder, kind)
    file = made / "labels" / artefact.MANIFEST
    told = json.loads(file.read_bytes())
    del told["seal"]

    def read(raw: bytes) -> None:
        file.write_bytes(_sealed(raw))
        artefact.read_manifest(file.parent)
        assert all(text.isprintable() for text in inspect(made, None).values())
        _replayed(made)

    return Reader([json.dumps(told, separators=(",", ":")).encode()], read)


def _shard(folder: Path, kind: str) -> Reader:
    made = _artefact(folder, kind)
    manifest = made / "labels" / artefact.MANIFEST
    file = made / "labels" / "labels-00000.safetensors"
    told = json.loads(manifest.read_bytes())
    del told["seal"]

    def read(raw: bytes) -> None:
        file.write_bytes(raw)
        told["shards"][0] |= {"bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}
        manifest.write_bytes(_sealed(json.dumps(told, separators=(",", ":")).encode()))
        artefact._known.clear()
        _replayed(made)

    return Reader([file.read_bytes()], read)


def _image_parquet(folder: Path) -> Reader:
    folder.mkdir()
    image_table.write(folder, pictures(20))
    (file,) = image_table.tables(folder)

    def read(raw: bytes) -> None:
        file.write_bytes(raw)
        image_table.read(folder, CPU)

    return Reader([file.read_bytes()], read)


def _image_safetensors(folder: Path) -> Reader:
    folder.mkdir()
    distilled.write(folder, pictures(20))
    file = folder / distilled.FILE

    def read(raw: bytes) -> None:
        file.write_bytes(raw)
        distilled.read(folder, CPU)

    return Reader([file.read_bytes()], read)


# What others wrote


def _official(folder: Path, form: str) -> Reader:
    if form == "flat":
        flat(folder, [pruned(drawn(4, number)) for number in range(2)])
    else:
        by_epoch(folder, mix="mixup" if form == "mixup" else "cutmix")
    file = next(iter(sorted(folder.rglob("batch_0.tar"))))

    def read(raw: bytes) -> None:
        file.write_bytes(raw)
        _batches(folder)

    return Reader([file.read_bytes()], read)


def _batches(folder: Path) -> None:
    for batch in open_folder(folder, IMAGES, SIDE, classes=CLASSES):
        batch.logits(CLASSES)
        assert 0 <= int(batch.views.index.min()) <= int(batch.views.index.max()) < IMAGES


def _official_parts(folder: Path) -> Reader:
    """Files of torch.save that are whole, and hold other things."""
    flat(folder, [pruned(drawn(4, number)) for number in range(2)])
    file = folder / "batch_0.tar"

    def read(raw: bytes) -> None:
        stream, parts = Stream(raw), pruned(drawn(4, 0))
        for _ in range(1 + stream.up_to(3)):
            at = stream.up_to(len(parts))
            parts[at:at] = [] if stream.up_to(4) else [stream.value()]
            if at < len(parts):
                parts[at] = stream.value()
        torch.save(parts, file)
        _batches(folder)

    return Reader([bytes(range(64)), b"\x07" * 64], read, whole=False)


def _official_json(folder: Path) -> Reader:
    flat(folder, [pruned(drawn(4, number)) for number in range(2)])
    (file,) = folder.glob("*.json")

    def read(raw: bytes) -> None:
        file.write_bytes(raw)
        _batches(folder)

    return Reader([file.read_bytes()], read)


class Stream:
    """Choices that bytes make, so that whoever changes the bytes changes the choices."""

    def __init__(self, raw: bytes) -> None:
        self._raw = io.BytesIO(raw)

    def up_to(self, most: int) -> int:
        """A whole number from 0 to `most`."""
        return int.from_bytes(self._raw.read(2) or b"\0", "little") % (most + 1)

    def value(self, depth: int = 3) -> Any:
        """Whatever torch.save takes and its restricted reader gives back."""
        kind = self.up_to(11 if depth else 7)
        if kind == 0:
            return [None, True, 0, -1, 1.5, float("nan"), 2**40, "", "x", b"x"][self.up_to(9)]
        if kind < 7:
            shape = [self.up_to(4) for _ in range(self.up_to(5))]
            dtypes = [torch.float32, torch.uint8, torch.int64, torch.float16, torch.bool]
            dtypes += [torch.complex64, torch.bfloat16, torch.float64, torch.int8]
            made = torch.full(shape, self.up_to(300) - 20).to(dtypes[self.up_to(len(dtypes) - 1)])
            if self.up_to(9) == 0:
                return made.to_sparse() if made.ndim and made.dtype != torch.bool else made
            return made * float("nan") if self.up_to(9) == 0 and made.is_floating_point() else made
        if kind < 9:
            return [self.value(depth - 1) for _ in range(self.up_to(3))]
        names = ["images", "labels", "lr", "data", "mean", "std", "image_syn", "label_syn", "x", 3]
        return {names[self.up_to(9)]: self.value(depth - 1) for _ in range(self.up_to(4))}


def _tensors(folder: Path) -> Reader:
    folder.mkdir()
    file = folder / "images_best.pt"

    def read(raw: bytes) -> None:
        stream = Stream(raw)
        beside = folder / "labels_best.pt"
        beside.unlink(missing_ok=True)
        if stream.up_to(2) == 0:
            torch.save(stream.value(), beside)
        held = stream.value()
        if stream.up_to(1):
            images, labels = torch.rand(4, 3, 8, 8), torch.arange(4)
            held = {
                "images": images,
                "labels": labels,
                ["lr", "mean", "data"][stream.up_to(2)]: held,
            }
        torch.save(held, file)
        soft = stream.up_to(1)
        (read_soft_labels if soft else read_tensors)(file, stream.up_to(2))

    return Reader([b"\x01" * 60, bytes(range(100, 200))], read, whole=False)


def _arrays(folder: Path) -> Reader:
    folder.mkdir()
    file = folder / "some.npz"
    np.savez(file, images=np.zeros((4, 3, 8, 8), np.float32), labels=np.arange(4))

    def read(raw: bytes) -> None:
        file.write_bytes(raw)
        read_tensors(file)

    return Reader([file.read_bytes()], read)


def _teacher(folder: Path, suffix: str) -> Reader:
    folder.mkdir()
    teacher = tiny_task(folder / "scratch").teacher
    assert teacher is not None
    teachers._save(teacher, folder / "whole.safetensors")
    torch.save(teacher.network.state_dict(), folder / "whole.pth")
    file = folder / f"some{suffix}"

    def read(raw: bytes) -> None:
        file.write_bytes(raw)
        made = teachers.load(NETWORK, file, 10, 1, 8, CPU).teacher
        assert made(torch.rand(2, 1, 8, 8)).shape == (2, 10)

    return Reader([(folder / f"whole{suffix}").read_bytes()], read)


def _pictures(folder: Path) -> Reader:
    (folder / "set" / "a").mkdir(parents=True)
    file, pixels = folder / "set" / "a" / "0.png", pictures(3).pixels[0, 0].numpy()
    kinds = [("PNG", {}), ("JPEG", {}), ("WEBP", {}), ("BMP", {}), ("GIF", {}), ("TIFF", {})]
    seeds = []
    for kind, options in kinds:
        made = io.BytesIO()
        Image.fromarray(pixels).convert("RGB").save(made, kind, **options)
        seeds.append(made.getvalue())

    def read(raw: bytes) -> None:
        file.write_bytes(raw)
        read_images(folder / "set")

    return Reader(seeds, read)


def _table(folder: Path) -> Reader:
    made = io.BytesIO()
    Image.fromarray(pictures(3).pixels[0, 0].numpy()).convert("RGB").save(made, "PNG")
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    images = pa.array([{"bytes": made.getvalue(), "path": None}] * 4, kind)
    told = {"info": {"features": {"label": {"names": ["a", "b"], "_type": "ClassLabel"}}}}
    data = pa.table({"image": images, "label": pa.array([0, 1, 1, 0])})
    (folder / "set").mkdir(parents=True)
    for part in ("train", "test"):
        kept = data.replace_schema_metadata({"huggingface": json.dumps(told)})
        pq.write_table(kept, folder / "set" / f"{part}-0.parquet")
    file = folder / "set" / "test-0.parquet"

    def read(raw: bytes) -> None:
        shutil.rmtree(folder / "stages", ignore_errors=True)
        file.write_bytes(raw)
        place = Place(folder, Cache(folder / "stages"))
        found = dataset_of("parquet").load(place, str(folder / "set"))
        found.test.take(torch.arange(len(found.test)))

    return Reader([file.read_bytes()], read)


def _listing(folder: Path) -> Reader:
    """What a Hub answers when it is asked what a repository holds."""
    answer = [b""]

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            whole = json.loads(answer[0]) if answer[0][:1] == b"[" else None
            parts = whole if isinstance(whole, list) and len(whole) == 2 else [whole, whole]
            text = json.dumps(parts["/tree/" in self.path]).encode(errors="replace")
            if whole is None:
                text = answer[0]
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    os.environ["HF_ENDPOINT"] = f"http://127.0.0.1:{server.server_address[1]}"

    def read(raw: bytes) -> None:
        answer[0] = raw
        Repository("ann/labels", "dataset").listing()

    told = {"id": "ann/labels", "sha": "a" * 40, "siblings": [], "tags": [], "private": False}
    lfs = {"oid": "b" * 64, "size": 5, "pointerSize": 120}
    tree = [{"type": "file", "path": "README.md", "size": 5, "oid": "c" * 40}]
    tree += [{"type": "file", "path": "x", "size": 5, "oid": "c" * 40, "lfs": lfs}]
    return Reader([json.dumps([told, tree]).encode()], read)


READERS: dict[str, Callable[[Path], Reader]] = {
    "record": records,
    "measurement": measured,
    "collection": collection,
    "config": config,
    "seal": seal,
    "manifest-soft": lambda folder: _manifest(folder, "soft"),
    "manifest-pool": lambda folder: _manifest(folder, "pool"),
    "manifest-network": lambda folder: _manifest(folder, "network"),
    "manifest-imported": lambda folder: _manifest(folder, "imported"),
    "shard-pool": lambda folder: _shard(folder, "pool"),
    "shard-network": lambda folder: _shard(folder, "network"),
    "shard-imported": lambda folder: _shard(folder, "imported"),
    "images-parquet": _image_parquet,
    "images-safetensors": _image_safetensors,
    "official-lpqld": lambda folder: _official(folder, "flat"),
    "official-sre2l": lambda folder: _official(folder, "cutmix"),
    "official-lpld": lambda folder: _official(folder, "mixup"),
    "official-parts": _official_parts,
    "official-orders": _official_json,
    "tensors-of-others": _tensors,
    "arrays-of-others": _arrays,
    "teacher-safetensors": lambda folder: _teacher(folder, ".safetensors"),
    "teacher-pth": lambda folder: _teacher(folder, ".pth"),
    "pictures": _pictures,
    "table": _table,
    "hub-listing": _listing,
}
