"""How the rows were made: teacher, sampling and templates, and the filters that they went through."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from synth_ray.dataset.card.markdown import block, table, without_folders
from synth_ray.dataset.manifest import Manifest
from synth_ray.job.check import FLAGS
from synth_ray.records import Reason

_REASONS: dict[str, tuple[str, ...]] = {
    "check": FLAGS,
    "scrub": (Reason.TOO_MUCH_PII, Reason.SCRUB_FAILED),
    "dedup": (Reason.EXACT_DUPLICATE, Reason.NEAR_DUPLICATE, Reason.SEMANTIC_DUPLICATE, Reason.CROSS_SPLIT),
    "decontaminate": (Reason.CONTAMINATED,),
}
_NAMES = {
    "check": "checks of the answers",
    "scrub": "personal data and secrets",
    "dedup": "duplicates",
    "decontaminate": "evaluation sets",
}


def made_lines(m: Manifest) -> list[str]:
    """The sections on the asks."""
    facts = [*_models(m), *(("sampling: " + name.replace("_", " "), _shown(value)) for name, value in m.sampling.items())]
    lines = ["## How the rows were made", "", *table(("", ""), facts), ""]
    if m.templates:
        lines += [
            "### Prompts",
            "",
            "By option of the job. Jinja expressions, as `{{ prompt }}`, stand for fields of a seed.",
            "",
        ]
        for option, text in m.templates.items():
            lines += [f"`{option}`:", "", *block(text, "jinja"), ""]
    return lines


def _models(m: Manifest) -> list[tuple[str, str]]:
    facts = [("recipe", m.recipe)]
    if m.teacher != "none":
        facts += [("teacher", without_folders(m.teacher)), ("revision", m.revision or "not given")]
    for role, engine in m.engines.items():
        version = (engine.get("versions") or {}).get(str(engine.get("engine", "")), "")
        named = without_folders(str(engine.get("model", "")))
        words = [f"{engine.get('engine', '')} {version}".strip(), named, str(engine.get("device", ""))]
        facts.append((f"engine of the {role.replace('_', ' ')}", ", ".join(dict.fromkeys(w for w in words if w))))
    if m.top_k:
        facts.append(("likeliest tokens", _likeliest(m.top_k)))
    return facts


def _likeliest(top_k: Mapping[str, Any]) -> str:
    tokenizer = top_k.get("tokenizer") or {}
    ids = f"; ids of the tokenizer {tokenizer['digest']}, of {tokenizer['vocabulary']:,} tokens" if tokenizer else ""
    return f"{top_k['k']} at each of {top_k['positions']:,} positions in {top_k['rows']:,} rows{ids}"


def filter_lines(m: Manifest) -> list[str]:
    """The filters that were in force, with the rows that each rejected."""
    rejected: Mapping[str, int] = m.rows.rejected
    rows = []
    for stage, settings in m.filters.items():
        reasons = _REASONS.get(stage, ())
        count = sum(rejected.get(reason, 0) for reason in reasons)
        rows.append((_NAMES.get(stage, stage), _settings(settings), count))
    if not rows:
        return []
    return ["## Filters", "", *table(("filter", "settings in force", "rows rejected"), rows), ""]


def _settings(settings: Mapping[str, Any]) -> str:
    words = {"drop": "flags that reject"}
    return "; ".join(f"{words.get(name, name.replace('_', ' '))}: {_shown(value)}" for name, value in settings.items())


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(_shown(item) for item in value) or "none"
    if isinstance(value, (dict, str)):
        return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else value
    return f"{value:g}" if isinstance(value, float) else str(value)
