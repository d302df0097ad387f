"""The files of an evaluation, each visible whole or not at all; `eval.json` is the last.

Law: they are sorted by the cases' ids and hold no time, so the same verdicts always give the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from synth_ray.evaluate.asking import Result
from synth_ray.evaluate.comparison import RESULTS
from synth_ray.evaluate.junit import junit
from synth_ray.records import canonical_json
from synth_ray.storage import Storage

SUMMARY, JUNIT = "eval.json", "junit.xml"


def write_results(store: Storage, results: Sequence[Result], summary: Mapping[str, Any], gates: Mapping[str, str | None]) -> None:
    """Write `results.jsonl`, `junit.xml` and `eval.json`. `gates` has the sentence of each gate that failed, None of one that
    holds.
    """
    store.write(RESULTS, b"".join(canonical_json(line_of(result)) + b"\n" for result in results))
    store.write(JUNIT, junit(results, gates))
    text = json.dumps(dict(summary) | {"gates": dict(gates)}, indent=1, sort_keys=True, ensure_ascii=False)
    store.write(SUMMARY, text.encode("utf-8", "backslashreplace") + b"\n")


def line_of(result: Result) -> dict[str, Any]:
    """One case's line of `results.jsonl`. `case` is the digest of what the case asks and wants."""
    graded = result.graded
    return {
        "id": result.case.id,
        "case": result.case.digest,
        "verdict": graded.verdict,
        "verifier": graded.verifier,
        "score": graded.score,
        "detail": ": ".join(filter(None, (result.reason, graded.detail))),
        "prompt": result.case.messages[-1]["content"],
        "answer": result.answer,
        "expected": result.case.expected,
        "groups": dict(result.case.groups),
    }
