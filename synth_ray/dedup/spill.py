"""Everything that admission remembers, beyond memory: tables in two levels and rows in files, in one folder."""

from __future__ import annotations

from pathlib import Path

from synth_ray.dedup.label_store import LabelFile
from synth_ray.dedup.row_file import RowFile
from synth_ray.dedup.stores import Stores
from synth_ray.dedup.two_level import TwoLevelTable
from synth_ray.dedup.vector_file import VectorFile


def stores_on_disk(folder: Path, *, cap: int, hot_bytes: int) -> Stores:
    """Empty stores in a new folder of a local disk. `cap` is the index's, `hot_bytes` what the newest keys of all tables take.

    Half of it is the index's, a quarter is for the n-grams of each side, and a sixteenth more for labels, where there are any.
    Beside it an older key takes 2.2 bytes of memory, an older n-gram 1.2; of vectors see `vector_file.VectorFile`.
    """
    return Stores(
        TwoLevelTable(folder / "keys", cap=cap, hot_bytes=hot_bytes // 2),
        RowFile(folder / "rows"),
        TwoLevelTable(folder / "train", cap=1, hot_bytes=hot_bytes // 4, is_wide=True),
        TwoLevelTable(folder / "evaluation", cap=1, hot_bytes=hot_bytes // 4, is_wide=True),
        VectorFile(folder / "vectors"),
        LabelFile(folder / "labels", hot_bytes=hot_bytes // 16),
    )
