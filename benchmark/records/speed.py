"""Speed records: where the time of a student's step goes, and named ratios of two times."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict

from .record import Environment, Name, Repeats, Seconds, Size, Text, World

SCHEMA = 1

Schema = Annotated[int, Field(ge=SCHEMA, le=SCHEMA)]
Copied = Literal["host", "device", "host to device"]
MemoryFormat = Literal["contiguous", "channels last"]
whole = with_config(ConfigDict(extra="forbid", strict=True, allow_inf_nan=False))


@whole
class MeasuredNames(TypedDict):
    """What was measured: a cell without its seed."""

    dataset: Name
    images: Name
    ipc: Annotated[int, Field(ge=1, le=10**9)]
    method: Name
    student: Name
    recipe: Name
    teacher: Name


@whole
class StepSeconds(TypedDict):
    """Seconds of every repeat; all of them take turns.

    `forward_backward` has `forward` inside, and `bare_step` has both, and the optimiser.
    `learning_step` is a bare step with the source's loss, on resident pixels and targets.
    """

    forward: Repeats
    forward_backward: Repeats
    bare_step: Repeats
    learning_step: Repeats
    views: Repeats  # a batch's, sampled or read, and moved to the device
    rendering: Repeats
    targets: Repeats
    step: Repeats  # the whole one


@whole
class Timed(TypedDict):
    """How often `size` was gone through (test images, bytes), in seconds of every repeat."""

    size: Size
    seconds: Repeats


@whole
class LabelBytes(TypedDict):
    """Bytes of a step's labels, a mean over all steps: as stored, and as float32 targets."""

    stored: Annotated[float, Field(ge=0, le=2**53)]
    targets: Size


@whole
class Memory(TypedDict):
    """The peak: resident set of the whole process so far, or allocated on the device for steps."""

    bytes: Size
    of: Literal["process", "device"]


@whole
class ProfileRecord(TypedDict):
    """Where the time of one student's step goes with one method's labels."""

    schema: Schema
    kind: Literal["profile"]
    cell: MeasuredNames
    precision: Annotated[str, Field(pattern="^[a-z0-9]{1,20}$")]
    memory_format: MemoryFormat
    compiled: bool
    batch: Size
    options: dict[str, Any]  # the method's, all of them
    seconds: StepSeconds
    seconds_fit: Seconds
    evaluation: Timed
    labels: LabelBytes
    copies: Annotated[dict[Copied, Timed], Field(min_length=1)]
    memory: Memory
    world: World
    environment: Environment


@whole
class Side(TypedDict):
    """One of the two times of a ratio."""

    what: Name
    seconds: Repeats
    environment: Environment


@whole
class RatioRecord(TypedDict):
    """A named comparison: the first side's seconds over the second's, repeat by repeat."""

    schema: Schema
    kind: Literal["ratio"]
    name: Name
    first: Side
    second: Side
    settings: Annotated[dict[Name, Text], Field(max_length=100)]
    world: World
