"""The manifest of an artefact: what `labels.json` says, sealed, typed and bounded.

Its last member is its seal: the beginning of the SHA-256 of all bytes before it. Whoever seals
what is out of bounds is refused all the same. (`packed` holds the same manifest in fewer bytes.)
"""

import hashlib
import json
import re
from collections.abc import Mapping
from math import prod
from typing import Annotated, Any, Literal, NotRequired

from pydantic import ConfigDict, Field, JsonValue, TypeAdapter, with_config
from typing_extensions import TypedDict  # pydantic reads `typing`'s from Python 3.12 on only

from ..core import bounded
from ..core.errors import ArtefactError, UserError
from ..records.ledger import Kind

FORMAT = 3
READ = (3, 4)  # formats: as JSON, and `packed`
MOST_BYTES = 2**20  # of `labels.json`; what is longer belongs in a stored
EMPTY: dict[str, Any] = {"options": {}, "requires": {}, "extra": {}, "tensors": {}, "shards": []}
SEAL = re.compile(rb',"seal":"([0-9a-f]{16})"\}')

Name = Annotated[str, Field(min_length=1, max_length=4096)]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0, le=2**53)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(ge=1e-6, le=1e6)]
Channels = Field(min_length=1, max_length=4)
Facts = Annotated[dict[Name, JsonValue], Field(max_length=1000)]

_whole = with_config(ConfigDict(extra="forbid", strict=True, allow_inf_nan=False))


@_whole
class Augmentation(TypedDict):
    """How views are drawn; `recipe.Augmentation` says what each means."""

    crop_scale: Annotated[list[Share], Field(min_length=2, max_length=2)]
    crop_ratio: Annotated[list[Positive], Field(min_length=2, max_length=2)]
    flip: Share
    mix: Literal["none", "cutmix", "mixup"]
    mix_alpha: Annotated[float, Field(ge=1e-6, le=2)]
    cutout: Share
    dsa: NotRequired[list[Literal["color", "crop", "cutout", "flip", "scale", "rotate"]]]


@_whole
class Plan(TypedDict):
    """Which views there are; `views.ViewPlan` says what each means."""

    seed: Annotated[int, Field(ge=0, lt=2**64)]
    images: Annotated[int, Field(ge=1, le=10**8)]
    resolution: Annotated[int, Field(ge=1, le=2**14)]
    batch_size: Annotated[int, Field(ge=1, le=10**8)]
    epochs: Annotated[int, Field(ge=1, le=10**7)]
    augmentation: Augmentation


@_whole
class Objective(TypedDict):
    """What students minimise; `recipe.Objective` says what each means."""

    loss: Literal["kl", "mse"]
    temperature: Positive
    label_scale: NotRequired[Positive]
    rescale: bool
    ce_weight: Annotated[float, Field(ge=0, le=1e6)]


@_whole
class Requirement(TypedDict):
    """What must be present at training time without being shipped."""

    name: Name
    bytes: Count
    sha256: Digest


@_whole
class _Told(TypedDict):
    kind: Kind
    shape: Annotated[list[Count], Field(max_length=8)]
    bytes: Count


class TensorTold(_Told, total=False):
    """One tensor; `numbers` where packing hides how many it stands for.

    Attributes:
        dtype: safetensors' name of it, in a `packed` artefact; else the shard's header tells it.
    """

    numbers: Count
    dtype: Literal["F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL"]


@_whole
class Shard(TypedDict):
    """One file; its place in the list is its name."""

    bytes: Count
    sha256: Digest


@_whole
class Manifest(TypedDict):
    """What an artefact is, and for which images; what is empty is not written."""

    format: Literal[3, 4]
    method: Name
    options: Facts  # the method's, all of them
    images: Digest
    classes: Digest
    plan: Plan
    objective: Objective
    mean: Annotated[list[Annotated[float, Field(ge=-1e6, le=1e6)]], Channels]
    std: Annotated[list[Positive], Channels]
    whitened: NotRequired[Literal[True]]  # in place of them
    requires: dict[Literal["prior", "teacher"], Requirement]
    extra: Facts  # what the method adds
    tensors: dict[Annotated[str, Field(pattern="^[^#]{1,200}$")], TensorTold]
    shards: list[Shard]


ADAPTER = TypeAdapter(Manifest)


def dump(manifest: Manifest) -> bytes:
    """The bytes of `labels.json`.

    Raises:
        UserError: no reader would take it.
    """
    told = text({name: value for name, value in manifest.items() if EMPTY.get(name) != value})
    raw = told[:-1] + b',"seal":"%s"}' % _seal(told)
    try:
        parse(raw)
    except UserError as error:
        raise UserError(f"This manifest cannot be written: {error}.") from error
    return raw


def parse(raw: bytes) -> Manifest:
    """What the bytes of `labels.json` say.

    Raises:
        UserError: it is no manifest of this format, was changed, or is out of bounds.
    """
    if len(raw) > MOST_BYTES:
        raise UserError(f"it is longer than {MOST_BYTES:,} bytes")
    value: Any = bounded.loads(raw)
    if not isinstance(value, dict) or "format" not in value:
        raise UserError("it is no manifest")
    if value["format"] != FORMAT:
        raise ArtefactError(other_format(value["format"]))
    sealed = SEAL.search(raw, max(0, len(raw) - 27))
    if not sealed or sealed.end() != len(raw) or sealed[1] != _seal(raw[: sealed.start()] + b"}"):
        raise UserError("its seal is not that of its bytes, so it was changed")
    del value["seal"]
    return checked(value, None)


def text(manifest: Any) -> bytes:
    """JSON without a byte too many."""
    return json.dumps(manifest, separators=(",", ":"), ensure_ascii=False).encode()


def other_format(version: object) -> str:
    """Why an artefact of that format version is refused."""
    first, second = READ
    return (
        f"it has format version {bounded.shown(version)}, and this labelbench reads {first} and "
        f"{second}: make the labels again"
    )


def checked(value: Mapping[str, Any], there: int | None) -> Manifest:
    """A parsed manifest, if it is one and its tensors can be where it says.

    Args:
        there: bytes of all tensors; None for those of its shards.

    Raises:
        UserError: it is out of bounds.
    """
    manifest = bounded.parse(ADAPTER, {**EMPTY, **value})
    if there is None:
        there = sum(shard["bytes"] for shard in manifest["shards"])
    _fits(manifest, there)
    return manifest


def _seal(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest()[:16].encode()


def _fits(manifest: Manifest, there: int) -> None:
    """Refuse tensors that so many bytes cannot hold."""
    for name, stored in manifest["tensors"].items():
        numbers, size = prod(stored["shape"]), stored["bytes"]
        # An empty tensor's other sides must not overflow what they are multiplied in, either.
        far = prod(side or 1 for side in stored["shape"]) >= 2**60
        if far or size not in (numbers, 2 * numbers, 4 * numbers, 8 * numbers):
            raise UserError(
                f"tensor {bounded.short(name)} has {size} bytes for "
                f"{bounded.shown(numbers)} numbers"
            )
    size = sum(stored["bytes"] for stored in manifest["tensors"].values())
    if size > there:
        raise UserError(f"its tensors have {size} bytes, and only {there} are there")
    if len(manifest["mean"]) != len(manifest["std"]):
        raise UserError("it has a mean and std of different lengths")
