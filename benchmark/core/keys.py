"""Keys: what decides a stage or a record, as JSON values.

A key holds the declared inputs, the digest of the code that makes the result, and what changes
numbers: the kind of device, the precision, and the minor versions of the libraries in use.
Threads, the processor and patch versions are the world's, not the key's.
"""

from collections.abc import Mapping
from typing import Any

from .code_digest import Code
from .device import Compute


def key(inputs: Mapping[str, Any], compute: Compute, code: Code) -> dict[str, Any]:
    """The key of what some code makes of `inputs` on a device.

    Args:
        inputs: JSON values; option values, digests of data, other keys.
    """
    return {
        **inputs,
        "code": code.digest,
        "device": compute.device.type,
        "precision": compute.precision,
        "libraries": code.libraries,
    }
