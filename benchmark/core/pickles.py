"""Files of `torch.save`, read without risk.

They are pickles, and a pickle can run code: torch's restricted reader makes tensors, numbers, text
and containers of these, and refuses all else.
"""

import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import torch

from .bounded import short
from .errors import UserError

SUFFIXES = (".pth", ".pt", ".bin", ".ckpt", ".tar", ".th")
MOST_BYTES = 2**33


def read_pickled(file: Path) -> Any:
    """What a file of `torch.save` holds, its tensors on the CPU.

    Raises:
        UserError: it is not there, is damaged or very long, or carries what may be code.
    """
    try:
        if not 0 < file.stat().st_size <= MOST_BYTES:
            raise UserError(f"it is empty, or longer than {MOST_BYTES:,} bytes")
        refuse_bomb(file, file.stat().st_size)
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # damage may make the reader fail in any way
        why = "it is damaged, or no file of torch.save"
        found = re.search(r"GLOBAL (\S+)", str(error))
        if isinstance(error, pickle.UnpicklingError) and found:
            why = f"it carries {found[1]}, which may be code; nothing of it was run"
        elif isinstance(error, UserError | OSError):
            why = str(error)
        raise UserError(f"Cannot read {str(file)!r}: {short(why, 200).rstrip('.')}.") from error


def refuse_bomb(file: Path, most: int) -> None:
    """Raise a UserError for an archive whose members would be unpacked to more than `most` bytes.

    torch never compresses any, so they have no more bytes than their file.
    """
    if not zipfile.is_zipfile(file):
        return
    with zipfile.ZipFile(file) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if size > most:
        raise UserError(f"its members have {size:,} bytes, more than {most:,}")
