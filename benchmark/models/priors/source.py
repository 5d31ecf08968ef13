"""Where a prior's weights come from: its name taken apart, and files on this machine."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ...core import hub
from ...core.errors import UserError, unknown

FOLDER = "LABELBENCH_PRIORS"
SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")


@dataclass(frozen=True)
class Source:
    """A prior's name, taken apart: where its weights come from.

    Attributes:
        name: the whole of it.
        library: `open_clip`, `timm`, `torchvision` or `package`.
        model: as the library calls it.
        weights: the library's name for them, or the path of a file that holds them, which may
            be one of the Hub, `hf:OWNER/NAME[@REVISION]/FILE`.
    """

    name: str
    library: str
    model: str
    weights: str

    @classmethod
    def parse(cls, name: str) -> "Source":
        """The source that a name such as `RN50:openai` or `timm:resnet18` stands for."""
        library, _, rest = name.partition(":")
        if library not in ("timm", "torchvision", "package"):
            library, rest = "open_clip", name
        model, _, weights = rest.partition(":")
        return cls(name, library, model, weights)

    @property
    def is_path(self) -> bool:
        """Whether the weights are a file, by its ending."""
        return self.weights.endswith(SUFFIXES)

    @property
    def stem(self) -> str:
        """The name, less its ending, of a file of these weights in the folder for priors."""
        library = "" if self.library == "open_clip" else f"{self.library}-"
        return f"{library}{self.model}-{self.weights}"

    @property
    def file(self) -> Path | None:
        """The file on this machine that holds the weights, if there is one.

        A path is tried as it is, then by its last part in the folder that LABELBENCH_PRIORS
        names. A library's name for weights stands for MODEL-WEIGHTS.safetensors (or .pt, .pth,
        .bin) in that folder, with `timm-` or `torchvision-` before it.
        """
        if self.is_path and hub.is_named(self.weights):
            return hub.weights_file(self.weights, SUFFIXES)
        names = [f"{self.stem}{suffix}" for suffix in SUFFIXES]
        places = []
        if self.is_path:
            names, places = [Path(self.weights).name], [Path(self.weights)]
        if folder := os.environ.get(FOLDER):
            places += [Path(folder, name) for name in names]
        return next((place for place in places if place.is_file()), None)

    def check_weights(self, known: Iterable[str]) -> None:
        """Raise a UserError unless the weights are among the `known` or in a file."""
        if self.is_path and self.file is None:
            raise UserError(
                f"{self.weights} is not there, and {Path(self.weights).name} not in the folder "
                f"that {FOLDER} names ({os.environ.get(FOLDER) or 'unset'})."
            )
        if not self.is_path and self.weights not in known:
            error = unknown(f"weights of {self.model}", self.weights, known)
            raise UserError(f"{error} Or name a file ({', '.join(SUFFIXES)}).")

    def failed(self, error: Exception, by_file: str) -> UserError:
        """The error that says why the weights could not be loaded, and what to do.

        Args:
            error: what the library raised.
            by_file: the part of a name before the path of a file of such weights.
        """
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        if self.file is None:
            return UserError(
                f"The prior {self.name!r} is not on this machine and could not be downloaded "
                f"({reason}). Offline: fetch its weights elsewhere, and name the file: "
                f"{by_file}:PATH; or put it as {self.stem} with its ending "
                f"({', '.join(SUFFIXES)}) into a folder, and name that in {FOLDER}."
            )
        differs = re.search(
            r'key\(s\) in state_dict: "([^"]+)"|size mismatch for ([^:\s]+)', str(error)
        )
        if differs:
            return UserError(
                f"{self.file} holds another model's weights than {self.model}'s; the first "
                f"that differs: {differs[1] or differs[2]}."
            )
        if "TorchScript" in str(error):
            return UserError(
                f"{self.file} is a TorchScript archive, OpenAI's original form, which is not "
                "read: take a file of weights alone, as Hugging Face has them."
            )
        return UserError(f"{self.file} cannot be loaded into {self.model} ({reason}).")
