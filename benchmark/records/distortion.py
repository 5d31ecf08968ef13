"""Distortion records: how far a method's labels are from the teacher's, and their bytes."""

from typing import Annotated, Any, Literal

from pydantic import Field
from typing_extensions import TypedDict

from .record import Environment, Seconds, Size, World
from .speed import MeasuredNames, Schema, whole

Share = Annotated[float, Field(ge=0, le=1)]
NotNegative = Annotated[float, Field(ge=0)]


@whole
class Loss(TypedDict):
    """What labels lose, a mean over the views that were looked at.

    `divergence` is KL from label to teacher, in nats, both at the temperature of the recipe, or at
    the method's own: what a student that equals the teacher would still have to lose. The error is
    of logits without their mean over the classes, as a share of their power; None where a method
    gives probabilities. `agreement` is how often label and teacher name the same class first.
    """

    divergence: NotNegative
    squared_error: NotNegative | None
    agreement: Share


@whole
class DistortionRecord(TypedDict):
    """One method's labels beside the teacher's, on views that students see.

    `spectrum` is the share of the power of the teacher's logits (without their mean over the
    classes) that their first 1, 2, 4, ... principal directions hold, on the views looked at.
    """

    schema: Schema
    kind: Literal["distortion"]
    cell: MeasuredNames
    precision: Annotated[str, Field(pattern="^[a-z0-9]{1,20}$")]
    options: dict[str, Any]  # the method's, all of them
    bytes: Size  # of all that is shipped beyond the images
    soft: Size  # of every label of the plan, as fp16
    looked_at: Size  # labels
    loss: Loss
    spectrum: Annotated[dict[str, Share], Field(min_length=1, max_length=64)]
    seconds_fit: Seconds
    seconds_load: Seconds
    world: World
    environment: Environment
