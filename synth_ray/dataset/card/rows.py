"""How many rows there are, and where the others went."""

from __future__ import annotations

from typing import Any

from synth_ray.dataset.card.markdown import literal, table, without_folders
from synth_ray.dataset.manifest import Manifest

_CELLS_SHOWN = 40


def warnings(m: Manifest) -> list[str]:
    """What a reader must know before anything else."""
    sentences = []
    if not m.splits:
        sentences.append(
            "**This dataset has no rows.** Its `train` split is one file with the columns and no row, which `datasets` loads "
            "only with `streaming=True`."
        )
    if not m.complete:
        why = f": {literal(m.stopped)}" if m.stopped else ""
        sentences.append(
            f"**This run stopped before its end{why}.** The rows here are complete; run the same command again to continue."
        )
    if m.synthetic_only_eval:
        sentences.append(
            "**The evaluation splits of this dataset are synthetic only.** Scores on them say little about real data."
        )
    if m.single_writer:
        sentences.append("**Written without conditional writes:** its job declared that nobody else writes here.")
    return [line for sentence in sentences for line in (sentence, "")]


def row_lines(m: Manifest) -> list[str]:
    """The funnel, the balance and the splits."""
    lines = ["## From requests to rows", "", *_funnel(m), ""]
    if m.target.get("cells"):
        lines += ["## Balance", "", *_balance(m.target), ""]
    return [*lines, "## Splits", "", *table(("split", "rows"), m.splits.items()), "", _real_share(m), ""]


def _funnel(m: Manifest) -> list[str]:
    rows: list[tuple[object, ...]] = [("requested", "", m.rows.requested), ("accepted", "", m.rows.accepted)]
    for verdict, reasons in (("rejected", m.rows.rejected), ("failed", m.rows.failed)):
        rows += [(verdict, reason, n) for reason, n in sorted(reasons.items(), key=lambda item: (-item[1], item[0]))]
    if m.rows.pending:
        rows.append(("pending", "", m.rows.pending))
    text = table(("slot", "reason", "rows"), rows)
    text += ["", f"Seeds: {m.seeds.read:,} read, {m.seeds.planned:,} planned"]
    text[-1] += "".join(f", {n:,} rejected ({reason})" for reason, n in sorted(m.seeds.rejected.items())) + "."
    if m.seeds.rejected:
        lines = (f"- {literal(without_folders(line))}" for line in m.seeds.rejected_lines())
        text += ["", "Rejected seeds, by file and line:", "", *lines, ""]
    text += ["Rejected and failed rows are kept, with their reasons: configuration `rejected`."] if m.rejected_files else []
    return text


def _balance(target: dict[str, Any]) -> list[str]:
    """The table of cells, those furthest below their target first."""
    cells = sorted(target["cells"], key=lambda cell: (cell["accepted"] - cell["wanted"], cell["cell"]))
    rows = [(c["cell"], c["wanted"], c["accepted"], "closed: too few were accepted" if c["closed"] else "") for c in cells]
    by = ", ".join(literal(name) for name in target["by"])
    lines = [f"{target['accepted']:,} of {target['wanted']:,} rows, balanced by {by}."]
    lines += ["", *table(("cell", "wanted", "accepted", ""), rows[:_CELLS_SHOWN])]
    return lines + [f"… and {len(rows) - _CELLS_SHOWN:,} more cells; all are in `manifest.json`."] * (len(rows) > _CELLS_SHOWN)


def _real_share(m: Manifest) -> str:
    total = sum(m.splits.values())
    share = f"{m.rows.real / total:.1%}" if total else "0.0%"
    if m.mix:
        synthetic = f"{m.mix['synthetic_share']:.0%} of the rows are synthetic"
        return f"{m.mix['accepted']:,} real rows are published with the synthetic ones: {synthetic}."
    if m.rows.real:
        sentence = f"{m.rows.real:,} of the {total:,} rows are real ({share}): all of them in the evaluation splits."
        return f"{sentence} No seed is in two splits."
    if m.is_copied:
        return "The rows are copies of the seeds, as real as these. No seed is in two splits."
    return "No row is real: of each, a model wrote at least a part. No seed is in two splits."
