"""What a record says: one typed, bounded schema, which all that write and read records share."""

import base64
import math
from collections.abc import Iterator
from typing import Annotated, Any, Literal, NotRequired

import numpy as np
from pydantic import ConfigDict, Field, TypeAdapter, with_config
from typing_extensions import TypedDict  # pydantic reads `typing`'s from Python 3.12 on only

from ..core.bounded import shown
from ..core.files import digest
from .ledger import KINDS

SCHEMA = 3
KEY, WORLD = 24, 12  # hexadecimal digits

Text = Annotated[str, Field(max_length=4096)]
Name = Annotated[str, Field(min_length=1, max_length=4096)]
Count = Annotated[int, Field(ge=0, le=2**53)]
Share = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0, le=1e10)]
Size = Annotated[int, Field(ge=1, le=2**53)]
Repeats = Annotated[
    list[Annotated[float, Field(ge=1e-12, le=1e10)]], Field(min_length=1, max_length=10_000)
]
Losses = Annotated[list[float | None], Field(min_length=1, max_length=1_000_000)]

_whole = with_config(ConfigDict(extra="forbid", strict=True, allow_inf_nan=False))


@_whole
class CellNames(TypedDict):
    """Which point of the grid."""

    dataset: Name
    images: Name
    source: Name  # `images` without the option that draws, so that draws are repeats
    draw: Count
    ipc: Annotated[int, Field(ge=1, le=10**9)]
    method: Name
    student: Name
    recipe: Name
    teacher: Name
    seed: Count


@_whole
class World(TypedDict):
    """Where a record was measured: what may change numbers though the code is the same."""

    device: Annotated[str, Field(pattern="^[a-z]{1,20}$")]  # its kind, as torch calls it
    hardware: Name  # the name of the CPU, or of the GPU
    threads: Annotated[int, Field(ge=1, le=2**20)] | None  # within one operation; of a CPU only
    python: Name
    libraries: Annotated[dict[Name, Name], Field(max_length=100)]  # full versions by name
    platform: Name


@_whole
class Environment(TypedDict):
    """Which code measured it."""

    labelbench: Name
    commit: Text | None  # `-dirty` at its end if the tree was changed


@_whole
class Inputs(TypedDict):
    """Digests and names of what went in."""

    train: Text
    test: Text
    images: Text
    teacher: Text
    labels: Text
    teacher_accuracy: Share
    classes: NotRequired[Size]  # of the dataset; with the resolution, what recipes depend on
    resolution: NotRequired[Size]
    images_stage: NotRequired[Text]  # the stage's name, by which `ship` finds it
    similarity: NotRequired[Annotated[float, Field(ge=-1.001, le=1.001)] | None]
    epochs: NotRequired[Annotated[int, Field(ge=1, le=10**9)]]  # where they were chosen, by a
    pilot: NotRequired[dict[str, Any]]  # whose validation this is
    set: NotRequired[dict[Name, Text]]
    accepted: NotRequired[list[Name]]  # joins that were let through even if they disagreed


@_whole
class Storage(TypedDict):
    """The ledger, and the bytes of the images and of the full labels."""

    values: Count
    indices: Count
    views: Count
    weights: Count
    container: Count
    parameters: Count
    blocks: Count
    prior: Count
    teacher: Count
    total: Count  # 0 where labels are the images' own classes, and nothing ships
    images: Count  # pixels and labels as this suite keeps them, uncompressed
    soft: Size
    images_png: NotRequired[Count]  # each image as a file of its own; records made before these
    images_jpeg: NotRequired[Count]  # were counted lack them


@_whole
class Batched(TypedDict):
    """What else was trained at the same time, and how."""

    students: Size  # on one stream of views and labels, which was made once for all
    stacked: bool  # as one network, their weights side by side
    jobs: Size  # processes side by side on this machine
    stacks: NotRequired[Size]  # one after another, where memory held no stack of all
    seconds_in_turn: NotRequired[Repeats]  # of a step of all students, where forms were tried
    seconds_stacked: NotRequired[Repeats]


@_whole
class Joint(TypedDict):
    """Processes that trained the student together, each its rows of every batch."""

    processes: Size
    # Of the whole batch, over all processes; `none` if the network has none.
    batch_norm: Literal["synchronised", "none"]


@_whole
class Result(TypedDict):
    """What the student reached after its last epoch, on the whole test set."""

    accuracy: Share
    test_images: Annotated[int, Field(ge=1, le=10**9)]
    correct: str  # one bit a test image, in test set order, packed, base64
    train_loss: Losses  # mean of each epoch; null where it was no number
    seconds_train: Seconds  # its share of those of all students that were trained with it
    seconds_fit: Seconds
    fit: NotRequired[dict[str, Any]]  # what the method's fit had to tell
    batched: NotRequired[Batched]  # where it was not trained alone
    # Parts that the rows of a batch were seen in, where memory did not hold them at once.
    micro_batches: NotRequired[Size]
    joint: NotRequired[Joint]  # where several processes trained it


@_whole
class Throughput(TypedDict):
    """Seconds of every repeat; the bare step and the method's take turns."""

    batch: Annotated[int, Field(ge=1, le=10**9)]  # of all devices
    devices: NotRequired[Size]  # that share each step, where there are several
    seconds_bare_step: Repeats
    seconds_step: Repeats
    seconds_targets: Repeats
    seconds_floor: NotRequired[Repeats]  # an online source's bare network


@_whole
class Plugin(TypedDict):
    """A plugin that it was measured with; built-in ones are the commit's."""

    kind: Name
    name: Name
    version: Text
    digest: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


@_whole
class Roles(TypedDict):
    """What method and images declare themselves to be in a comparison."""

    control: Literal["floor", "full", "ceiling"] | None
    baseline: bool


@_whole
class Record(TypedDict):
    """One cell's whole story. Its identity is its `key` (what was measured) and its world."""

    schema: Annotated[int, Field(ge=SCHEMA, le=SCHEMA)]
    key: Annotated[str, Field(pattern=f"^[0-9a-f]{{{KEY}}}$")]
    cell: CellNames
    on_protocol: bool
    precision: Annotated[str, Field(pattern="^[a-z0-9]{1,20}$")]  # fp32 or bf16
    recipe: dict[str, Any]  # whole, as used
    options: dict[str, Any]  # the method's, all of them
    inputs: Inputs
    roles: Roles
    plugins: Annotated[list[Plugin], Field(max_length=1000)]
    storage: Storage
    prior: Name | None
    result: Result
    throughput: Throughput
    world: World
    environment: Environment


ADAPTER = TypeAdapter(Record)


def world_digest(world: World) -> str:
    """The short name of a world."""
    return digest(world)[:WORLD]


def contradictions(record: Record) -> Iterator[str]:
    """What the fields of a record say against each other."""
    yield from _bits(record["result"])
    stored = record["storage"]
    parts = sum(stored[name] for name in (*KINDS, "container"))
    if parts != stored["total"]:
        yield f"storage.total is {stored['total']}, but its parts add up to {parts}"
    losses = len(record["result"]["train_loss"])
    epochs = record["inputs"].get("epochs") or record["recipe"].get("epochs")
    if epochs and losses != epochs:  # a recipe of steps says no epochs
        yield f"result.train_loss has {losses} losses, trained were {shown(epochs)} epochs"
    times = record["throughput"]
    counts = {name: len(v) for name, v in times.items() if isinstance(v, list)}
    if len(set(counts.values())) > 1:
        yield f"throughput has unlike numbers of repeats: {counts}"
    joint = record["result"].get("joint", {}).get("processes", 1)
    if times.get("devices", 1) != joint:
        yield f"throughput is of {times.get('devices', 1)} devices, but {joint} trained the student"
    world = record["world"]
    if (world["threads"] is None) == (world["device"] == "cpu"):
        yield f"world.threads is {world['threads']} on device {world['device']!r}"
    if "torch" not in world["libraries"]:
        yield "world.libraries does not name torch"


def _bits(result: Result) -> Iterator[str]:
    """The test images that were right, and the accuracy they make."""
    count = result["test_images"]
    try:
        raw = base64.b64decode(result["correct"], validate=True)
    except ValueError:
        raw = b""
    if len(raw) != -(-count // 8):
        yield f"result.correct does not hold {count} bits, one a test image"
        return
    right = int(unpack_bits(result["correct"], count).sum())
    if not math.isclose(right / count, result["accuracy"], abs_tol=1e-9):
        yield f"result.accuracy is {result['accuracy']}, but {right} of {count} images were right"


def pack_bits(correct: np.ndarray) -> str:
    """Booleans as base64 text, eight to a byte, first one in the highest bit."""
    return base64.b64encode(np.packbits(correct).tobytes()).decode()


def unpack_bits(text: str, count: int) -> np.ndarray:
    """The booleans again."""
    return np.unpackbits(np.frombuffer(base64.b64decode(text), np.uint8), count=count).astype(bool)


def as_json(value: Any) -> Any:
    """A JSON value as records hold it: null where a number is none, as after a divergence."""
    if isinstance(value, dict):
        return {name: as_json(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
