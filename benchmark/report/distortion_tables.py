"""Tables of distortion records: what labels lose, over their bytes, by setting."""

from collections.abc import Iterable

import pandas as pd

from ..records.distortion import DistortionRecord
from ..records.measurements import Measurement
from ..records.record import world_digest
from ..records.worlds import places
from .leaderboard import Table, one_line
from .setting_title import setting_title

NOTE = (
    "Labels beside the teacher's on a sample of the views that students see. Divergence: KL from "
    "label to teacher, in nats, what a student that equals the teacher would still have to lose. "
    "Squared error: of logits without their mean over the classes, as a share of their power; "
    "methods that give probabilities have none. Agreement: how often both name the same class "
    "first. Load: seconds from the folder to labels ready for training."
)


def tables(records: Iterable[Measurement]) -> list[Table]:
    """One of each setting, from few bytes to many."""
    found = [record for record in records if record["kind"] == "distortion"]
    where = places({world_digest(record["world"]): record["world"] for record in found})
    groups: dict[str, list[DistortionRecord]] = {}
    for record in found:
        student = f"student {record['cell']['student']}"
        groups.setdefault(setting_title(record, where, [student]), []).append(record)
    return [_table(title, groups[title]) for title in sorted(groups)]


def _table(title: str, records: list[DistortionRecord]) -> Table:
    records = sorted(records, key=lambda r: (r["bytes"], r["cell"]["method"]))
    rows = [_row(record) for record in records]
    cell = records[0]["cell"]
    shares = ", ".join(
        f"{name} {100 * share:.1f} %" for name, share in records[0]["spectrum"].items()
    )
    spectrum = f"Power of the teacher's logits in its first directions, of all classes: {shares}."
    short = f"{cell['dataset']} ipc{cell['ipc']} distortion"
    return Table("distortion", title, short, pd.DataFrame(rows), f"{NOTE} {spectrum}")


def _row(record: DistortionRecord) -> dict[str, str]:
    loss, error = record["loss"], record["loss"]["squared_error"]
    return {
        "method": one_line(record["cell"]["method"]),
        "bytes": f"{record['bytes']:,}",
        "of all labels": f"1/{record['soft'] / record['bytes']:,.0f}" if record["bytes"] else "-",
        "divergence (nats)": f"{loss['divergence']:#.3g}",
        "squared error": "-" if error is None else f"{100 * error:.3g}%",
        "agreement": f"{100 * loss['agreement']:.1f}%",
        "labels looked at": f"{record['looked_at']:,}",
        "fit (s)": f"{record['seconds_fit']:.1f}",
        "load (s)": f"{record['seconds_load']:.1f}",
    }
