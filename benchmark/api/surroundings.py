"""Where a grid is read from, made and measured: the words of `run` beside those of its grid."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from ..core.remote_work import RemoteWork

DATA_ROOT = "LABELBENCH_DATA"  # of the environment
Device = Annotated[
    str,
    typer.Option(help="auto (CUDA where it is, else cpu), cpu, cuda, cuda:1, ..., xpu or mps."),
]
Plugins = Annotated[
    list[Path] | None,
    typer.Option("--plugin", help="A Python file or package folder with a plugin; repeatable."),
]


@dataclass(frozen=True)
class Place:
    """What a grid is read from, and where its stages are made and measured.

    Attributes: as their help texts say.
    """

    config: Annotated[
        Path | None, typer.Option(help="A TOML grid, or the name of a shipped one (see list).")
    ] = None
    plugin: Plugins = None
    data_root: Annotated[
        Path | None, typer.Option(envvar=DATA_ROOT, help="Where real datasets lie.")
    ] = None
    download: Annotated[
        bool, typer.Option("--download", help="Let torchvision fetch into the data root.")
    ] = False
    work: Annotated[
        str, typer.Option(help="Folder of stages, records and tables, or a URL (s3://...).")
    ] = "runs"
    device: Device = "auto"
    precision: Annotated[
        Literal["auto", "fp32", "bf16"],
        typer.Option(help="auto: bf16 where the hardware computes in it."),
    ] = "auto"

    @property
    def folder(self) -> Path:
        """The work folder on this machine; of a URL, what keeps it here.

        Raises:
            UserError: it can be none.
        """
        remote = RemoteWork.at(self.work)
        return remote.folder if remote else Path(self.work)


@dataclass(frozen=True)
class Surroundings(Place):
    """Where and how a grid is run; nothing here changes what is measured but device and precision.

    Attributes: as their help texts say.
    """

    shard: Annotated[
        str | None,
        typer.Option(help="I/N: the I-th (from 0) of N parts of the cells, as in a Slurm array."),
    ] = None
    executor: Annotated[
        Literal["local", "ray"],
        typer.Option(help="ray: every stage a task on a Ray cluster; needs labelbench\\[ray]."),
    ] = "local"
    address: Annotated[
        str | None,
        typer.Option(
            help="Of the Ray cluster; by default RAY_ADDRESS, or one started on this machine."
        ),
    ] = None
    jobs: Annotated[
        str,
        typer.Option(help="Processes side by side; auto: one a thread on a CPU, one on a GPU."),
    ] = "auto"
    share_stream: Annotated[
        Literal["auto", "off"],
        typer.Option(help="off: every student renders and labels its views for itself."),
    ] = "auto"
    batched: Annotated[
        int,
        typer.Option(
            min=1,
            help="Base sets whose labels are learned side by side, where memory allows (a GPU's).",
        ),
    ] = 1
    force: Annotated[bool, typer.Option("--force", help="Measure finished cells anew.")] = False
    within: Annotated[
        str | None,
        typer.Option(help="Measure what fits into so long, controls first: 30m, 2h, 1d."),
    ] = None
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what is cached and missing; write nothing.")
    ] = False
