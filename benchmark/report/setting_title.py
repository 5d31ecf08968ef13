"""The title of a table of measurements: what its records share."""

from collections.abc import Iterable, Mapping

from ..records.distortion import DistortionRecord
from ..records.record import world_digest
from ..records.speed import ProfileRecord
from .leaderboard import one_line


def setting_title(
    record: DistortionRecord | ProfileRecord,
    where: Mapping[str, str],
    of_images: Iterable[str] = (),
    of_teacher: Iterable[str] = (),
    of_world: Iterable[str] = (),
) -> str:
    """In a line.

    Args:
        where: worlds in few words, by their digests.
        of_images, of_teacher, of_world: what else is shared, said after images, teacher and world.
    """
    cell = record["cell"]
    parts = [
        cell["dataset"],
        f"IPC {cell['ipc']}",
        f"images {cell['images']}",
        *of_images,
        f"recipe {cell['recipe']}",
        f"teacher {cell['teacher']}",
        *of_teacher,
        where[world_digest(record["world"])],
        *of_world,
        f"commit {record['environment']['commit'] or 'unknown'}",
    ]
    return one_line(", ".join(parts))
