"""How much work a stage is, in what can be timed: images that pass through networks."""

from dataclasses import dataclass

TEACHER = "teacher"  # as a network's name: the run's teacher
PRIOR = "prior:"  # before a prior's name


@dataclass(frozen=True)
class Passes:
    """Images that pass through a network.

    Attributes:
        network: as `--students` names it, or `teacher`, or `prior:NAME`.
        images: that pass, all told.
        batch: images at once.
        trained: whether gradients are made and weights or pixels moved; else only logits are.
        rendered: whether each is rendered as a view first, and not by another pass already.
    """

    network: str
    images: int
    batch: int
    trained: bool = False
    rendered: bool = True


@dataclass(frozen=True)
class Work:
    """What a fit, or the making of images, takes; nothing where it is a moment's work.

    Attributes:
        passes: of making it.
        online: networks that run on each view which a student is shown, named as in `Passes`.
        shared: whether it is made once for all distilled images, in a fit.
        memory: bytes that are held on the device beside the networks, at most; what a batch takes
            is left out.
        reads: pictures of the real set that are read, each as often as it is: they are decoded
            where they do not fit into memory.
    """

    passes: tuple[Passes, ...] = ()
    online: tuple[str, ...] = ()
    shared: bool = False
    memory: int = 0
    reads: int = 0
