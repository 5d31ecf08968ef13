"""What a test counts on to be there."""

from typing import TypeVar

T = TypeVar("T")


def present(value: T | None) -> T:
    """The value itself; a failed assertion where it is None."""
    assert value is not None
    return value
