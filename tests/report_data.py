"""Manifests and examples for tests of the report page: a full one, an old one, and one that means harm."""

from __future__ import annotations

import math
from typing import Any

from synth_ray.records import FAILED, Reason

Facts = dict[str, Any]

CLASSES = ("refund", "invoice", "delivery late", "cancel order", "damaged item", "warranty", "password", "complaint")
LOST = {
    "not_true": 255,
    "cross_split": 182,
    "near_duplicate": 131,
    "exact_duplicate": 41,
    "truncated": 22,
    "refusal": 9,
    "wrong_language": 4,
    "over_quota": 60,
    "too_much_pii": 3,
}
FAILURES = {"engine_error": 12, "deadline": 5}
REQUESTED, REAL = 2_000, 160
ACCEPTED = REQUESTED - sum(LOST.values()) - sum(FAILURES.values())


def old_manifest() -> Facts:
    """What a version wrote that measured nothing."""
    return {
        "format": 1,
        "name": "shop messages",
        "job_digest": "89dafa86615850dd9b0c218bb722d3bc",
        "ask_digest": "c28dd44abb664b9076d7ec4e7e09db6e",
        "dataset_digest": "94e9e8d58f24bad9b34139a43fb61008",
        "complete": True,
        "rows": {"requested": REQUESTED, "accepted": ACCEPTED, "rejected": dict(LOST), "failed": dict(FAILURES), "real": REAL},
        "seeds": {
            "read": 420,
            "planned": 400,
            "rejected": {"duplicate_seed": 20},
            "rejected_at": {"duplicate_seed": ["seeds.jsonl:7"]},
        },
        "splits": {"train": ACCEPTED - 120, "validation": 60 + 80, "test": 60 + 80},
        "files": [
            {
                "path": "data/split=train/part-00000-8846471b.parquet",
                "split": "train",
                "rows": 1,
                "bytes": 206_718,
                "sha256": "88",
            }
        ],
        "pii": {"EMAIL_ADDRESS": 359, "PHONE_NUMBER": 330, "CREDIT_CARD": 4},
        "tokens": {"prompt": 106_666, "completion": 54_551, "cached": 81_200},
        "cost": {
            "wall_s": 412.4,
            "runs": 2,
            "replica_s": 802.0,
            "usd": 0.7783,
            "usd_per_1m_output_tokens": 14.2673,
            "usd_per_1k_accepted": 0.6099,
        },
        "created_at": "2026-11-26T17:55:23+00:00",
    }


def full_manifest() -> Facts:
    """Every key that the page shows."""
    return old_manifest() | {
        "description": "New customer messages and word problems in the manner of a few seeds, and their answers.",
        "funnel": _funnel(),
        "profile": _profile(),
        "target": {"wanted": 1600, "accepted": ACCEPTED, "by": "intent", "cells": _cells()},
        "reference": {"source": "split.real", "rows": REAL, "generated": 1276, "vectors": "words"},
        "narrowing": _narrowing(),
        "tstr": _tstr(),
        "perplexity": {
            "real_by_synthetic": {"value": 212.4, "low": 190.1, "high": 236.0},
            "real_by_real": {"value": 148.9, "low": 139.2, "high": 160.7},
            "synthetic_by_real": {"value": 98.2, "low": 91.0, "high": 104.8},
            "synthetic_by_synthetic": {"value": 31.7, "low": 30.2, "high": 33.5},
            "ratio": 1.426,
            "order": 3,
            "unit": "per word",
        },
        "label_noise": {
            "rows": 1276,
            "suspects": 48,
            "share": 0.0376,
            "low": 0.0283,
            "high": 0.0497,
            "by_class": {
                "refund": {"rows": 201, "suspects": 21},
                "complaint": {"rows": 119, "suspects": 17},
                "invoice": {"rows": 160, "suspects": 10},
            },
            "first": [
                {"id": f"{n:032x}", "label": "refund", "likely": "complaint", "confidence": 0.93 - n / 100} for n in range(20)
            ],
        },
        "teacher_errors": {
            "verifier": {"arithmetic": {"rows": 900, "wrong": 255, "rate": 0.2833, "low": 0.2548, "high": 0.3137}},
            "judge": {"observed": 0.12, "corrected": 0.091, "low": 0.04, "high": 0.15},
            "by_class": {
                "refund": {"rows": 210, "wrong": 90, "rate": 0.4286},
                "invoice": {"rows": 180, "wrong": 31, "rate": 0.1722},
            },
        },
        "leaks": 0,
        "contamination": {"gsm8k": 3},
        "judge": {
            "criteria": ["answers the question", "is polite"],
            "min_score": 3,
            "advisory": False,
            "gold": 120,
            "observed": 0.91,
            "kappa": 0.78,
            "low": 0.66,
            "high": 0.88,
            "judged": 1800,
            "good": {"observed": 0.82, "corrected": 0.79, "low": 0.73, "high": 0.85},
        },
        "disclosure": {
            "copied": {"passage": 4, "record": 1},
            "canaries": {"planted": 8, "found": 0},
            "test": {"rows": 900, "records": 120, "nearer_to_shown": 451, "nearer_to_held_out": 449, "p": 0.48},
        },
        "throughput": {
            "tokens_s": {"prompt": 1521.0, "completion": 2778.0, "cached": 0.0},
            "requests_s": 17.8,
            "first_replica_s": 31.2,
            "first_answer_s": 33.1,
            "tail_s": 4.0,
            "in_flight_mean": 121.0,
            "window_bound_share": 0.02,
            "timeline": _timeline(),
        },
        "estimate": {
            "asks": 1_250,
            "prompt_tokens": {"low": 27_000.0, "expected": 29_000.0, "high": 33_000.0},
            "completion_tokens": {"low": 0.0, "expected": None, "high": 150_000.0},
            "usd": {"low": 0.7, "expected": 0.9, "high": 1.2},
            "hours": None,
            "done_share": 1.0,
            "actual": {"prompt_tokens": 29_868, "completion_tokens": 54_551, "usd": 0.7783},
        },
        "engines": {
            "teacher": {
                "engine": "vllm",
                "model": "Qwen/Qwen3-8B",
                "revision": "b968826d9c46",
                "device": "H100",
                "devices": 2,
                "start_s": 31.2,
                "start_phases_s": {"imports": 15.1, "weights": 6.0, "compile": 4.2, "warm-up": 3.5},
                "engine_args": {"dtype": "bfloat16", "max_model_len": 4096},
            }
        },
        "templates": {"template": "Write one new customer message.\nIntent: {{ intent }}\n"},
        "sampling": {"temperature": 0.8, "max_tokens": 120},
        "filters": {"check": {"min_tokens": 4}, "dedup": {"threshold": 0.7}},
        "teacher": "Qwen/Qwen3-8B",
        "revision": "b968826d9c46",
        "teacher_license": "apache-2.0",
        "recipe": "vary",
        "license": "apache-2.0",
        "sources": [{"path": "jobs/data/seeds.jsonl", "license": "apache-2.0"}],
        "versions": {"synth_ray": "0.1.0", "pyarrow": "26.0.1"},
    }


def _funnel() -> dict[str, list[Facts]]:
    return {
        "split": [_value("train", 0.8), _value("validation", 0.1), _value("test", 0.1)],
        "class": [_value(name, 1 / len(CLASSES)) for name in CLASSES],
        "teacher": [_value("Qwen/Qwen3-8B", 0.7), _value("gpt-5-mini", 0.3)],
    }


def _value(name: str, part: float) -> Facts:
    scaled = {reason: round(n * part) for reason, n in LOST.items()}
    return {"value": name, "accepted": round(ACCEPTED * part), "rejected": scaled, "failed": {"engine_error": round(12 * part)}}


def _profile() -> Facts:
    def lengths(middle: float, spread: float, rows: int) -> Facts:
        edges = [5 * n for n in range(25)]
        weights = [math.exp(-(((low + 2.5 - middle) / spread) ** 2)) for low in edges[:-1]]
        histogram = [[a, b, round(rows * w / sum(weights))] for a, b, w in zip(edges, edges[1:], weights, strict=False)]
        return {
            "kind": "length",
            "unit": "tokens",
            "rows": rows,
            "missing": 0,
            "mean": middle,
            "min": 3,
            "p5": middle - 1.6 * spread,
            "p25": middle - 0.5 * spread,
            "p50": middle,
            "p75": middle + 0.5 * spread,
            "p95": middle + 1.6 * spread,
            "max": 120,
            "histogram": histogram,
        }

    labels = {
        "synthetic": {
            "kind": "category",
            "rows": 1276,
            "missing": 0,
            "distinct": 8,
            "top": [[c, 240 - 22 * n] for n, c in enumerate(CLASSES)],
            "other": 0,
        }
    }
    labels["real"] = {"kind": "category", "rows": 160, "missing": 0, "distinct": 8, "top": [[c, 20] for c in CLASSES], "other": 0}
    similarity = lengths(60, 20, 313) | {
        "kind": "number",
        "unit": "",
        "histogram": [[0.7 + n / 50, 0.72 + n / 50, 40 - 2 * n] for n in range(15)],
    }
    similarity |= {"min": 0.7, "p5": 0.71, "p25": 0.74, "p50": 0.81, "p75": 0.88, "p95": 0.99, "max": 1.0, "mean": 0.82}
    return {
        "groups": {"synthetic": 1276, "real": 160},
        "columns": {
            "prompt": {"synthetic": lengths(34, 12, 1276), "real": lengths(46, 24, 160)},
            "completion": {"synthetic": lengths(60, 20, 1276), "real": lengths(58, 26, 160)},
            "intent": labels,
            "similarity": {"synthetic": similarity},
        },
    }


def _cells() -> list[Facts]:
    return [
        {"cell": name, "wanted": 200, "accepted": 200 - 30 * (n % 3), "requests": 300, "closed": n % 3 == 2}
        for n, name in enumerate(CLASSES)
    ]


def _narrowing() -> Facts:
    rows = [
        ("compression", 1.09, 1.05, 1.13, 1.08, 1.15, "warn"),
        ("distinct_4", 0.97, 0.955, 0.985, 0.95, 0.90, "ok"),
        ("entropy_2", 0.985, 0.97, 1.0, 0.97, 0.94, "ok"),
        ("openers", 0.112, 0.09, 0.134, 0.03, 0.06, "fail"),
        ("vocabulary", 0.03, 0.02, 0.04, 0.05, 0.15, "ok"),
        ("lengths", 0.07, 0.05, 0.09, 0.05, 0.15, "warn"),
        ("vendi", 0.88, 0.85, 0.91, 0.92, 0.85, "warn"),
        ("coverage", 0.99, 0.97, 1.0, 0.98, 0.95, "ok"),
        ("mauve", 0.91, 0.88, 0.94, 0.95, 0.85, "warn"),
    ]
    names = ("value", "low", "high", "warn", "fail", "verdict")
    return {name: dict(zip(names, values, strict=True)) | {"rows": 160} for name, *values in rows}


def _tstr() -> Facts:
    return {
        "macro_f1": 0.742,
        "low": 0.70,
        "high": 0.78,
        "train_rows": 1276,
        "test_rows": 400,
        "real": {"macro_f1": 0.701, "low": 0.65, "high": 0.75, "train_rows": 160},
        "both": {"macro_f1": 0.801, "low": 0.76, "high": 0.84, "train_rows": 1436},
        "baseline": {"macro_f1": 0.03, "low": 0.02, "high": 0.04},
        "classes": [
            {"class": c, "rows_test": 50, "f1": 0.55 + n / 20, "low": 0.45 + n / 20, "high": 0.65 + n / 20, "f1_real": 0.7}
            for n, c in enumerate(CLASSES)
        ],
        "curve": [
            {"train_rows": n, "synthetic": 0.75 - 20 / n, "real": 0.78 - 18 / n if n <= 160 else None}
            for n in (40, 80, 160, 320, 640, 1276)
        ],
    }


def _timeline() -> list[Facts]:
    return [
        {
            "t_s": 3.4 * n,
            "tokens_s": 2800 * min(1, n / 8) * (1 + 0.08 * math.sin(n / 3)) * (1 if n < 112 else (120 - n) / 8),
            "in_flight": min(128, 16 * n) if n < 110 else 12 * (120 - n),
            "replicas": 2 if 10 < n < 110 else 1,
        }
        for n in range(120)
    ]


def row(number: int, prompt: str, completion: str, **facts: Any) -> Facts:
    known = {
        "id": f"{number:032x}",
        "split": "train",
        "class": CLASSES[number % 8],
        "origin": "synthetic",
        "teacher": "Qwen/Qwen3-8B",
    }
    messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": completion}]
    return known | {"messages": messages, "fields": {"tone": "brief"}, "reason": None, "detail": "", "similarity": None} | facts


_ASKED = "My red pair of headphones was broken when I opened the box on Sunday. Do something about it."
_ANSWER = "That should not happen. A new grey pair of headphones is on its way, and you may keep the old one."


def full_examples() -> Facts:
    """Ten accepted rows, some for each of several reasons, a few edges."""
    accepted = [row(n, f"{_ASKED} It is order {n}.", _ANSWER, split=("train", "test", "validation")[n % 3]) for n in range(10)]
    repeated = [
        row(
            20 + n,
            _ASKED.replace("red", "blue").replace("Sunday", f"day {n}"),
            _ANSWER.replace("grey", "green"),
            reason=reason,
            similarity=0.81 + n / 100,
            detail=detail,
            witness=row(40 + n, _ASKED, _ANSWER, split="test" if reason == "cross_split" else "train"),
        )
        for reason, detail in (("near_duplicate", ""), ("cross_split", "13 words in a row"))
        for n in range(3)
    ]
    same = row(60, _ASKED, _ANSWER, reason="exact_duplicate", similarity=1.0, witness=row(61, _ASKED, _ANSWER))
    wrong = [
        row(
            70 + n,
            "There are 6 boxes with 11 cards. How many cards?",
            f"6 * 11 = {n}. The answer is {n}.",
            reason="not_true",
            detail="6 * 11 is 66",
            witness=None,
        )
        for n in range(3)
    ]
    edges = [
        {
            "measure": "dedup.threshold",
            "value": 0.69,
            "limit": 0.7,
            "row": row(80, _ASKED.replace("Sunday", "Monday"), _ANSWER),
            "beside": row(81, _ASKED, _ANSWER),
        }
    ]
    edges += [{"measure": "check.judge.min_score", "value": 3.0, "limit": 3, "row": row(82, _ASKED, _ANSWER), "beside": None}]
    rejected: dict[str, list[Facts]] = {}
    for each in (*repeated, same, *wrong):
        rejected.setdefault(each["reason"], []).append(each)
    return {"accepted": accepted, "rejected": rejected, "edges": edges}


HOSTILE = (
    '</script><script>window.ran = 1</script><img src=x onerror="window.ran = 1">" onmouseover="window.ran = 1" {{ 7 * 7 }} `x`'
)
LONG = "W" * 400
RIGHT_TO_LEFT = "\u202eمرحبا بالعالم שלום \u0000 🧑🏽‍🚀 " + "ﷺ" * 30


def hostile_manifest() -> Facts:
    """Names that are scripts, endless words, right-to-left text; 500 classes; numbers that are none."""
    manifest = full_manifest()
    names = (
        [f"{HOSTILE}{n}" for n in range(150)] + [f"{LONG}{n}" for n in range(150)] + [f"{RIGHT_TO_LEFT}{n}" for n in range(200)]
    )
    values = [{"value": name, "accepted": 3, "rejected": {"not_true": 1, HOSTILE: 1}, "failed": {}} for name in names]
    manifest |= {
        "name": HOSTILE + LONG,
        "description": RIGHT_TO_LEFT + LONG,
        "stopped": HOSTILE,
        "complete": False,
        "teacher": LONG,
        "license": HOSTILE,
        "funnel": dict.fromkeys(("split", "class", "teacher", "recipe", HOSTILE), values),
        "target": {
            "wanted": 9,
            "accepted": 3,
            "by": "x",
            "cells": [{"cell": name, "wanted": 9, "accepted": 3, "closed": True} for name in names],
        },
        "pii": dict.fromkeys(names, 2**53),
        "cost": {"wall_s": 1e9, "usd": float("nan"), HOSTILE: 3},
        "leaks": 10**12,
        "templates": {HOSTILE: HOSTILE * 50},
        "filters": {HOSTILE: LONG},
        "contamination": dict.fromkeys(names[:60], 1),
        "engines": {
            HOSTILE: {
                "engine": LONG,
                "start_phases_s": {HOSTILE: 1e300, LONG: HOSTILE},
                "model": HOSTILE,
                "engine_args": {HOSTILE: LONG},
                "notes": [HOSTILE],
            }
        },
        "seeds": {"read": 1, "planned": 0, "rejected": {"wrong_type": 1}, "rejected_at": {"wrong_type": [f"{LONG}:1"]}},
    }
    manifest["rows"] = manifest["rows"] | {
        "rejected": {reason.value: 10**9 for reason in Reason if reason not in FAILED} | {HOSTILE: 1, LONG: 1}
    }
    manifest["narrowing"] = {
        HOSTILE: {
            "value": 1e300,
            "low": -1e300,
            "high": float("inf"),
            "warn": 0.1,
            "fail": 0.2,
            "verdict": HOSTILE,
            "meaning": LONG,
        }
    }
    manifest["tstr"]["classes"] = [{"class": name, "f1": 0.1} for name in names]
    manifest["profile"]["columns"] |= {
        LONG: manifest["profile"]["columns"]["prompt"],
        HOSTILE: manifest["profile"]["columns"]["intent"],
    }
    return manifest


def hostile_examples() -> Facts:
    """Three rows with a witness for every reason, each of many long messages."""
    texts = (HOSTILE * 6, LONG + LONG, RIGHT_TO_LEFT * 10)

    def nasty(number: int, reason: str | None) -> Facts:
        messages = [{"role": HOSTILE, "content": texts[(number + n) % 3][:600]} for n in range(12)]
        facts = {
            "class": texts[number % 3],
            "split": HOSTILE,
            "messages": messages,
            "fields": {HOSTILE: LONG, LONG: RIGHT_TO_LEFT, "nested": {"a": [HOSTILE]}},
        }
        return row(number, "", "", reason=reason, detail=HOSTILE, similarity=float("nan"), **facts)

    rejected = {
        r: [nasty(n, r) | {"witness": nasty(n + 1, None)} for n in range(3)]
        for r in [*(reason.value for reason in Reason), HOSTILE]
    }
    edges = [
        {"measure": HOSTILE, "value": float("nan"), "limit": None, "row": nasty(n, None), "beside": nasty(n + 1, None)}
        for n in range(12)
    ]
    return {"accepted": [nasty(n, None) for n in range(10)], "rejected": rejected, "edges": edges}
