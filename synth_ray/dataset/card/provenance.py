"""Where the rows come from and under which terms: licences, cost, digests, versions, and personal data."""

from __future__ import annotations

from synth_ray.dataset.card.markdown import table, without_folders
from synth_ray.dataset.manifest import Manifest

_COSTS = {
    "wall_s": "seconds of the last run",
    "replica_s": "seconds of all engines",
    "start_s": "of these, starting them",
    "usd": "US dollars",
    "usd_per_1m_output_tokens": "US dollars per million output tokens",
    "usd_per_1k_accepted": "US dollars per thousand accepted rows",
}


def licence_lines(m: Manifest) -> list[str]:
    facts = [("this dataset", m.license or "not given")]
    if m.teacher != "none":
        facts += [("the teacher", m.teacher_license or "not given"), ("terms of its answers", m.teacher_terms or "not given")]
    facts += [(f"seeds {n}", source.get("license") or "not given") for n, source in enumerate(m.sources, start=1)]
    return ["## Licences", "", *table(("of", "licence or terms"), facts), ""]


def provenance_lines(m: Manifest) -> list[str]:
    return ["## Provenance", "", *table(("", ""), _facts(m)), "", "## Personal data", "", *_pii(m), ""]


def _facts(m: Manifest) -> list[tuple[str, object]]:
    facts: list[tuple[str, object]] = [
        *((f"seeds {n}", without_folders(source.get("path", ""))) for n, source in enumerate(m.sources, start=1)),
        *((f"{name.replace('_', ' ')} tokens", _counted(name, n, m)) for name, n in m.tokens.items()),
        *((_COSTS.get(name, name.replace("_", " ")), value) for name, value in m.cost.items()),
        ("made", m.created_at),
        ("job digest", m.job_digest),
        ("ask digest", m.ask_digest),
        ("dataset digest", m.dataset_digest),
        *m.versions.items(),
    ]
    return [(name, value) for name, value in facts if value != ""]


def _counted(name: str, n: int, m: Manifest) -> str:
    """A number of tokens; of thoughts, also their share of the completion's, which is that of its cost."""
    if name != "reasoning":
        return f"{n:,}"
    share = f"{n / m.tokens['completion']:.0%} of the completion tokens" if m.tokens.get("completion") else ""
    lost = m.thoughts.get("tokens", {}).get("not_accepted", 0)
    return "; ".join(part for part in (f"{n:,}", share, f"{lost:,} in rows that were not accepted" if lost else "") if part)


def _pii(m: Manifest) -> list[str]:
    if not m.pii:
        return ["Nothing was found to replace. That is no proof that nothing is there."]
    if m.pii_in_place:
        sentence = "**Found and left in place:** this job only counted findings."
        return [sentence, "", *table(("entity", "found"), sorted(m.pii.items()))]
    return ["Found and replaced:", "", *table(("entity", "replaced"), sorted(m.pii.items()))]
