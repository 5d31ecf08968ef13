"""What families ask of the images' size."""

from ...core.errors import UserError

SMALL = 64  # pixels a side; such images are not shrunk early, larger ones get standard networks


def require_whole_patches(name: str, patch: int, resolution: int) -> None:
    """Raise unless the image is a whole number of patches wide: the rest would go unseen."""
    if resolution % patch:
        raise UserError(
            f"{name} cuts images of {resolution} pixels a side into patches of {patch}: "
            f"the resolution must be a multiple of {patch}."
        )
