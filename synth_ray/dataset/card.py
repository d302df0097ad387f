"""`README.md`, the dataset card: for people, and for the `datasets` library, which finds the files by the YAML header."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import yaml

from synth_ray.dataset.loading import loading_instructions
from synth_ray.dataset.manifest import File, Manifest
from synth_ray.errors import Conflict
from synth_ray.records import LOGPROBS
from synth_ray.storage import Storage

PATH = "README.md"
_CELLS_SHOWN = 40

_LIKELY = [{"name": "token", "dtype": "string"}, {"name": "id", "dtype": "int32"}, {"name": "logprob", "dtype": "float32"}]
_FEATURES: dict[str, dict[str, Any]] = {
    "list<item: struct<role: string, content: string>>": {
        "list": [{"name": "role", "dtype": "string"}, {"name": "content", "dtype": "string"}]
    },
    "list<item: string>": {"list": "string"},
    "double": {"dtype": "float64"},
    str(LOGPROBS): {"list": [*_LIKELY, {"name": "top", "list": _LIKELY}]},
}
_DISCLOSURE_P = 0.01
_DISCLOSURE_FOUND = (
    "**The rows disclose records that the teacher was shown:** they are nearer to these than chance explains. Do not share the "
    "rows as they are."
)
_DISCLOSURE_NOT_FOUND = (
    "The test found nothing beyond chance. That is no proof of privacy: it only compares similarities, and somebody who knows "
    "more about the records may find more."
)
_SAME_DTYPE = {"string", "bool", "int8", "int32", "int64"}


def write_unfinished_card(storage: Storage, *, name: str) -> None:
    """Write a card that says that the dataset is unfinished, unless the card of an earlier version is there."""
    # An empty list makes `datasets` refuse the folder. Without a list it would load any Parquet file it finds.
    head = {"pretty_name": name, "configs": [{"config_name": "default", "data_files": []}]}
    body = f"# {name}\n\n**This dataset is unfinished.** A run is writing it, or stopped. No file here is a result yet.\n"
    try:
        storage.create(PATH, _card(head, body))
    except Conflict:
        return


def write_card(storage: Storage, manifest: Manifest, *, endpoint_url: str | None = None) -> None:
    """Describe the version just published. It lists its files one by one, so that old and new versions never mix."""
    body = "\n".join(_sections(manifest, storage.url, endpoint_url))
    storage.write(PATH, _card(_head(manifest), body))


class _Plain(yaml.SafeDumper):
    """YAML without anchors and aliases, because people read the card's header too."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _card(head: dict[str, Any], body: str) -> bytes:
    head_yaml = yaml.dump(head, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=1000)
    return f"---\n{head_yaml}---\n\n{body}".encode()


def _head(manifest: Manifest) -> dict[str, Any]:
    head: dict[str, Any] = {"pretty_name": manifest.name}
    if manifest.license:
        head["license"] = manifest.license
    head["tags"] = ["synth_ray"] if manifest.teacher == "none" else ["synthetic", "synth_ray"]
    default = {"config_name": "default", "default": True, "data_files": _data_files(manifest.files)}
    rejected = {"config_name": "rejected", "data_files": _data_files(manifest.rejected_files, split="rejected")}
    infos = [_info("default", manifest.columns, manifest.files)]
    if manifest.rejected_files:
        infos.append(_info("rejected", manifest.rejected_columns, manifest.rejected_files, split="rejected"))
    return head | {"configs": [default, rejected][: len(infos)], "dataset_info": infos}


def _data_files(files: Iterable[File], *, split: str = "") -> list[dict[str, Any]]:
    by_split: dict[str, list[str]] = {}
    for file in files:
        by_split.setdefault(split or file.split, []).append(file.path)
    return [{"split": name, "path": paths} for name, paths in by_split.items()]


def _info(config: str, columns: dict[str, str], files: list[File], *, split: str = "") -> dict[str, Any]:
    splits: dict[str, dict[str, Any]] = {}
    for file in files:
        name = split or file.split
        entry = splits.setdefault(name, {"name": name, "num_bytes": 0, "num_examples": 0})
        entry["num_bytes"] += file.row_bytes
        entry["num_examples"] += file.rows
    return {
        "config_name": config,
        "features": [{"name": name, **_feature(kind)} for name, kind in columns.items()],
        "splits": list(splits.values()),
        "download_size": sum(file.bytes for file in files),
        "dataset_size": sum(file.row_bytes for file in files),
    }


def _feature(kind: str) -> dict[str, Any]:
    return {"dtype": kind} if kind in _SAME_DTYPE else dict(_FEATURES[kind])


def _sections(m: Manifest, url: str, endpoint_url: str | None) -> list[str]:
    parts = [f"# {m.name}", "", *_warnings(m)]
    if m.description:
        parts += [m.description, ""]
    parts += ["## From requests to rows", "", *_funnel(m), ""]
    if m.gold:
        parts += ["## Agreement with human labels", "", *_gold_sentence(m.gold), ""]
    if m.judge:
        parts += ["## The judge", "", *_judge_sentences(m.judge), ""]
    if m.target.get("cells"):
        parts += ["## Balance", "", *_balance(m.target), ""]
    parts += ["## Splits", "", *_table(("split", "rows"), m.splits.items()), "", _eval_sentence(m), ""]
    if m.contamination:
        sentence = "Rows that quote one of these evaluation sets are rejected:"
        parts += [
            "## Evaluation sets",
            "",
            sentence,
            "",
            *_table(("evaluation set", "rows that quoted it"), m.contamination.items()),
            "",
        ]
    if m.contradictory_labels:
        sentence = "rows have the input of an earlier row and another label; the manifest names the first of them."
        parts += ["## Contradictory labels", "", f"{m.contradictory_labels['rows']:,} {sentence}", ""]
    if m.disclosure:
        parts += ["## Disclosure of real records", "", *_disclosure(m.disclosure), ""]
    parts += ["## Provenance", "", *_table(("", ""), _provenance(m)), ""]
    parts += ["## Personal data", "", *_pii(m), ""]
    return [*parts, "## Load it", "", *loading_instructions(url, endpoint_url)]


def _warnings(m: Manifest) -> list[str]:
    warnings = []
    if not m.splits:
        warnings += [
            "**This dataset has no rows.** Its `train` split is one file with the columns and no row, which `datasets` loads "
            "only with `streaming=True`.",
            "",
        ]
    if not m.complete:
        why = f": {m.stopped}" if m.stopped else ""
        warnings += [
            f"**This run stopped before its end{why}.** The rows here are complete; run the same command again to continue.",
            "",
        ]
    if m.synthetic_only_eval:
        warnings += [
            "**The evaluation splits of this dataset are synthetic only.** Scores on them say little about real data.",
            "",
        ]
    if m.single_writer:
        warnings += [
            "**Written without conditional writes:** its job declared that nobody else writes here.",
            "",
        ]
    return warnings


def _funnel(m: Manifest) -> list[str]:
    rows = [("requested", "", m.rows.requested), ("accepted", "", m.rows.accepted)]
    for verdict, reasons in (("rejected", m.rows.rejected), ("failed", m.rows.failed)):
        rows += [(verdict, reason, n) for reason, n in sorted(reasons.items(), key=lambda item: (-item[1], item[0]))]
    if m.rows.pending:
        rows.append(("pending", "", m.rows.pending))
    text = _table(("slot", "reason", "rows"), rows)
    text += ["", f"Seeds: {m.seeds.read:,} read, {m.seeds.planned:,} planned"]
    text[-1] += "".join(f", {n:,} rejected ({reason})" for reason, n in sorted(m.seeds.rejected.items())) + "."
    if m.seeds.rejected:
        text += ["", "Rejected seeds, by file and line:", "", *(f"- {line}" for line in m.seeds.rejected_lines()), ""]
    text += ["Rejected and failed rows are kept, with their reasons: configuration `rejected`."] if m.rejected_files else []
    return text


def _gold_sentence(summary: dict[str, Any]) -> list[str]:
    sentence = (
        f"{summary['rows']:,} accepted rows have a human label; {summary['observed']:.1%} agree with it, {_kappa(summary)}."
    )
    advice = "**Advice only:** fewer than 50 rows to compare, or a kappa below 0.6. Do not filter or score by these labels alone."
    return [sentence, "", advice] if summary["advisory"] else [sentence]


def _judge_sentences(summary: dict[str, Any]) -> list[str]:
    sentences = [
        f"{summary['judged']:,} answers were scored from 1 to 5 for {', '.join(summary['criteria'])}; "
        f"{summary['min_score']:g} is enough."
    ]
    if "gold" in summary:
        sentences += [
            "",
            f"On {summary['gold']:,} rows that people judged, {summary['observed']:.1%} of its verdicts agree with theirs, "
            f"{_kappa(summary)}.",
        ]
    if good := summary.get("good"):
        sentences += [
            "",
            f"It rates {good['judged']:.1%} of the answers as good; corrected for its own errors, {good['corrected']:.1%}",
        ]
        sentences[-1] += f" (95 %: {good['low']:.1%} to {good['high']:.1%})."
    advice = "**Advice only:** fewer than 50 rows that people judged, or a kappa below 0.6. Its scores rejected nothing."
    return [*sentences, "", advice] if summary["advisory"] else sentences


def _kappa(summary: dict[str, Any]) -> str:
    known = summary["kappa"] is not None
    return (
        f"Cohen's kappa {summary['kappa']:.2f} (95 %: {summary['low']:.2f} to {summary['high']:.2f})"
        if known
        else "kappa undefined"
    )


def _disclosure(report: dict[str, Any]) -> list[str]:
    """The sentences on disclosure: what was tested, the result, and what the result does not prove."""
    copied, canaries, test = report["copied"], report["canaries"], report["test"]
    sentences = [f"These rows stand in for real records. {sum(copied.values()):,} rows that repeated one were rejected."]
    if canaries["planted"]:
        sentences += [
            "",
            f"{canaries['planted']:,} canaries were planted among the records; {canaries['found']:,} appeared in answers",
        ]
        sentences[-1] += "; rows with them were rejected." if canaries["found"] else "."
    if test:
        decided = test["nearer_to_shown"] + test["nearer_to_held_out"]
        share = test["nearer_to_shown"] / decided if decided else 0.5
        sentences += [
            "",
            f"Of {test['rows']:,} rows, {share:.1%} are nearer to a record that the teacher was shown than to any of as many",
        ]
        sentences[-1] += f" ({test['records']:,}) that it was not shown. If it memorised no record, 50 % is expected; "
        sentences[-1] += f"a share of at least this size occurs by chance with p = {test['p']:.2g}."
        sentences += ["", _DISCLOSURE_FOUND if test["p"] < _DISCLOSURE_P else _DISCLOSURE_NOT_FOUND]
    else:
        sentences += ["", "**Not tested:** too few rows or records to tell whether showing the records gave anything away."]
    return sentences


def _balance(target: dict[str, Any]) -> list[str]:
    """The table of cells, those furthest below their target first."""
    cells = sorted(target["cells"], key=lambda cell: (cell["accepted"] - cell["wanted"], cell["cell"]))
    rows = [(c["cell"], c["wanted"], c["accepted"], "closed: too few were accepted" if c["closed"] else "") for c in cells]
    lines = [f"{target['accepted']:,} of {target['wanted']:,} rows, balanced by {', '.join(target['by'])}."]
    lines += ["", *_table(("cell", "wanted", "accepted", ""), rows[:_CELLS_SHOWN])]
    return lines + [f"… and {len(rows) - _CELLS_SHOWN:,} more cells; all are in `manifest.json`."] * (len(rows) > _CELLS_SHOWN)


def _eval_sentence(m: Manifest) -> str:
    if m.mix:
        share = f"{m.mix['synthetic_share']:.0%} of the rows are synthetic"
        return f"{m.mix['accepted']:,} real rows are published with the synthetic ones: {share}."
    if m.rows.real:
        return f"The evaluation splits have {m.rows.real:,} real rows; no seed is in two splits."
    return "No seed is in two splits."


def _provenance(m: Manifest) -> list[tuple[str, object]]:
    facts = [
        ("teacher", m.teacher),
        ("revision", m.revision),
        ("teacher's licence", m.teacher_license),
        ("teacher's terms", m.teacher_terms),
        ("recipe", m.recipe),
        ("licence", m.license),
        *((f"seeds {n}", source.get("path", "")) for n, source in enumerate(m.sources, start=1)),
        *((f"{name} tokens", f"{n:,}") for name, n in m.tokens.items()),
        *((name.replace("_", " "), value) for name, value in m.cost.items()),
        ("made", m.created_at),
        ("job digest", m.job_digest),
        ("ask digest", m.ask_digest),
        ("dataset digest", m.dataset_digest),
        *m.versions.items(),
    ]
    return [(name, value) for name, value in facts if value != ""]


def _pii(m: Manifest) -> list[str]:
    if not m.pii:
        return ["Nothing was found to replace. That is no proof that nothing is there."]
    if m.pii_in_place:
        sentence = "**Found and left in place:** this job only counted findings."
        return [sentence, "", *_table(("entity", "found"), sorted(m.pii.items()))]
    return ["Found and replaced:", "", *_table(("entity", "replaced"), sorted(m.pii.items()))]


def _table(head: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return lines + [f"| {' | '.join(_cell(value) for value in row)} |" for row in rows]


def _cell(value: object) -> str:
    text = f"{value:,}" if isinstance(value, int) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")
