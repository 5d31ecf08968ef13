"""Small artefacts as one file, `labels.packed`, of which hardly a byte is not label.

Of labels of some hundred bytes a manifest in plain JSON, its digests and a safetensors header
would be nine tenths. So where all tensors take at most `MOST_BYTES`, the same manifest and the same
tensors lie in one file:

    1 byte      the format, 4
    64 bytes    SHA-256 of images and classes, which nothing makes shorter
    n bytes     the rest of the manifest as compact JSON, by raw DEFLATE (RFC 1951) with the preset
                dictionary `WORDS`: what manifests have in common takes next to nothing
    n bytes     the tensors, in the manifest's order, little-endian, none padded
    8 bytes     the seal: the beginning of the SHA-256 of all bytes before it

The manifest is whole, not even a default is left out, and is read as strictly as `labels.json`.
`python -m benchmark labels inspect` shows it.
"""

import hashlib
import zlib
from collections.abc import Mapping, Sequence
from itertools import accumulate
from math import prod
from typing import Any

import torch
from torch import Tensor

from ..core import bounded
from ..core.errors import ArtefactError, UserError
from . import manifest
from .manifest import Manifest
from .shards import DTYPES

FILE = "labels.packed"
FORMAT = 4
MOST_BYTES = 2**18  # of all tensors; larger ones are mapped into memory, as shards
LONGEST_FILE = MOST_BYTES + manifest.MOST_BYTES
DIGESTS = ("images", "classes")
DIGEST_BYTES, SEAL_BYTES = 32, 8
WINDOW_BITS = -15  # of DEFLATE without a header
KINDS = {name: dtype for dtype, name in DTYPES.items()}

# A part of the format: another text would be another format. What stands last is cheapest to name.
WORDS = (
    b',"whitened":true,"requires":{"prior":{"name":"","bytes":1,"sha256":"'
    b'"dsa":["color","crop","cutout","flip","scale","rotate"]"mix":"mixup","mix":"none","loss":"mse"'
    b',"label_scale":1.0,"rescale":true,"form":"top-k","slc":100.0,"soft":0.5,"smoothing":0.8,'
    b'"weight":0.1,"amount":0.1,"rank":4,"sparsity":0.01,"values":"int8","codes":2,"entries":256,'
    b'"width":4,"hidden":64,"epochs":20,"steps":1500,"lr":0.005,"values":"int8","batches":0,'
    b'"weights":{"kind":"weights","shape":[100],"bytes":100,"numbers":0,"dtype":"F16"},"scales":'
    b'"plain":"codes":'
    b'{"method":"hard","plan":{"method":"gift","options":{"method":"hald","options":{"method":"vqae",'
    b'"options":{"method":"score","options":{"method":"expert","options":{"form":"fp16","k":5,'
    b'{"method":"lpqld","options":{"keep":0.1,"batches":4,"select":"first","order":"highest",'
    b'"granularity":"pool","replacement":false,"quantise":"mr","k":2,"mass":0.95,"values":"fp16",'
    b'"schedule":"step","decay":0.7,"interval":0.1,"floor":2.0,"calibrate":true,"path":"",'
    b'"class_order":"own","teachers":"final"},"tensors":{"indices":{"kind":"indices",'
    b'"shape":[200],"bytes":200,"dtype":"U8"},"values":{"kind":"values","shape":[400],"bytes":800,'
    b'"dtype":"F16"}}}"logits":{'
    b'{"method":"label_function","options":{"bytes":100,"step":0.1,"epochs":50,"dims":9}'
    b'{"method":"transform","options":{"form":"views","bytes":100,"batches":0,"step":0.0,'
    b'"rounding":0.4,"dims":9,"predict":true,"mirror":true,"k":0,"schedule":"none",'
    b'"calibrate":false},"plan":{"seed":0,"images":100,"resolution":32,"batch_size":50,"epochs":300,'
    b'"augmentation":{"crop_scale":[1.0,1.0],"crop_ratio":[1.0,1.0],"flip":0.5,"mix":"cutmix",'
    b'"mix_alpha":1.0,"cutout":0.0}},"objective":{"loss":"kl","temperature":20.0,"rescale":false,'
    b'"ce_weight":0.0},"mean":[0.485,0.456,0.406],"std":[0.229,0.224,0.225],"extra":{"batches":1,'
    b'"most":1,"power":6.0,"step":0.6},"tensors":{"code":{"kind":"values","shape":[100],'
    b'"bytes":100,"numbers":900,"dtype":"U8"},"basis":{"kind":"weights","shape":[9,10],"bytes":90,'
    b'"dtype":"I8"}}}'
)


def head(told: Mapping[str, Any]) -> bytes:
    """All bytes before the tensors, of a manifest whose tensors tell their `dtype`."""
    left = {n: v for n, v in told.items() if n not in ("format", *DIGESTS)}
    text = manifest.text({n: v for n, v in left.items() if manifest.EMPTY.get(n) != v})
    coder = zlib.compressobj(9, zlib.DEFLATED, WINDOW_BITS, 9, zlib.Z_DEFAULT_STRATEGY, WORDS)
    digests = b"".join(bytes.fromhex(told[name]) for name in DIGESTS)
    return bytes([FORMAT]) + digests + coder.compress(text) + coder.flush()


def dump(told: Mapping[str, Any], tensors: Sequence[Tensor]) -> bytes:
    """The bytes of `labels.packed`, of a manifest and its tensors in order.

    Raises:
        UserError: no reader would take it.
    """
    flat = (t.detach().cpu().contiguous().reshape(-1).view(torch.uint8) for t in tensors)
    raw = head(told) + b"".join(row.numpy().tobytes() for row in flat)
    raw += _seal(raw)
    try:
        parse(raw)
    except UserError as error:
        raise UserError(f"This manifest cannot be written: {error}.") from error
    return raw


def parse(raw: bytes) -> tuple[Manifest, dict[str, Tensor]]:
    """What the bytes of `labels.packed` hold: the manifest, and the tensors by name.

    Raises:
        ArtefactError: it is of another format.
        UserError: it was changed, or is out of bounds.
    """
    if raw[:1] != bytes([FORMAT]):
        raise ArtefactError(manifest.other_format(raw[0] if raw else None))
    start, end = 1 + len(DIGESTS) * DIGEST_BYTES, len(raw) - SEAL_BYTES
    if end < start or raw[end:] != _seal(raw[:end]):
        raise UserError("its seal is not that of its bytes, so it was changed")
    coder = zlib.decompressobj(WINDOW_BITS, WORDS)
    try:
        text = coder.decompress(raw[start:end], manifest.MOST_BYTES)
    except zlib.error as error:
        raise UserError(f"its manifest cannot be unpacked ({error})") from error
    if not coder.eof:
        raise UserError(f"its manifest is cut off, or longer than {manifest.MOST_BYTES:,} bytes")
    value: Any = bounded.loads(text)
    if not isinstance(value, dict) or value.keys() & {"format", "shards", *DIGESTS}:
        raise UserError("it is no manifest")
    digests = {
        name: raw[1 + n * DIGEST_BYTES : 1 + (n + 1) * DIGEST_BYTES].hex()
        for n, name in enumerate(DIGESTS)
    }
    told = manifest.checked({"format": FORMAT, **value, **digests}, len(coder.unused_data))
    return told, dict(_tensors(told, coder.unused_data))


def places(told: Manifest, size: int) -> dict[str, tuple[int, torch.dtype]]:
    """Where each tensor begins in a file of so many bytes, and its type."""
    sizes = [stored["bytes"] for stored in told["tensors"].values()]
    starts = accumulate(sizes, initial=size - SEAL_BYTES - sum(sizes))
    kinds = (KINDS[stored.get("dtype", "")] for stored in told["tensors"].values())
    return {n: (s, k) for n, s, k in zip(told["tensors"], starts, kinds, strict=False)}


def _tensors(told: Manifest, data: bytes) -> "list[tuple[str, Tensor]]":
    found, start = [], 0
    for name, stored in told["tensors"].items():
        dtype, shape, size = KINDS.get(stored.get("dtype", "")), stored["shape"], stored["bytes"]
        if dtype is None or dtype.itemsize * prod(shape) != size:
            raise UserError(f"tensor {bounded.short(name)} is not what its dtype and shape say")
        part = bytearray(data[start : start + size])
        flat = torch.frombuffer(part, dtype=dtype) if part else torch.empty(0, dtype=dtype)
        found.append((name, flat.view(shape)))
        start += size
    if start != len(data):
        raise UserError(f"its tensors have {start} bytes, and {len(data)} lie there")
    return found


def _seal(raw: bytes) -> bytes:
    return hashlib.sha256(raw).digest()[:SEAL_BYTES]
