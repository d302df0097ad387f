r"""Formats for training with verifiable rewards: a prompt and its ground truth, as the recipe `passes` leaves them.

Law: as in `formats`; besides, the truth is never in the prompt. A trainer's own verifier reads the truth, so it is written in the
form that this verifier takes: a number in digits, an expression in \boxed{}, cases of stdin and stdout or of a function. What is
a dict of any shape is JSON text where the trainer reads a table. The layouts follow TRL 1.16 (`trl.rewards`), verl 0.9
(`utils/dataset/rl_dataset.py`, `utils/reward_score`), verifiers 0.1 (`envs/environment.py`), and NeMo Gym (`task_data.py` of its
resources servers), whose JSONL NeMo RL reads.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import pyarrow as pa

from synth_ray.dataset.conversation import Message, NotRepresentable, Row, conversation_of, field_of, tools_of
from synth_ray.records import canonical_json
from synth_ray.verify.answers import gold_number
from synth_ray.verify.programs import Cases, tests_of

_ABILITIES = {"arithmetic": "math", "math": "math", "code": "code"}
_SCORERS = {"arithmetic": "openai/gsm8k", "math": "lighteval/MATH"}
"""The data sources by which verl picks its own scorers, by our verifier."""
_CASES_SCORER = "taco"
_DELIMITERS = ("\\boxed", "$", "\\(", "\\[")


def trl_grpo(row: Row) -> dict[str, Any]:
    """`solution` is what `trl.rewards.accuracy_reward` parses; the other columns go to reward functions as lists."""
    prompt, truth = _prompt_of(row), _truth_of(row)
    return {"prompt": prompt, "solution": _expression(truth, _verifier_of(row))} | _measures(row)


def verl(row: Row) -> dict[str, Any]:
    """A row of the Parquet file that verl's RLHFDataset reads, of `VERL_SCHEMA`."""
    prompt, truth, verifier = _prompt_of(row), _truth_of(row), _verifier_of(row)
    plain = _plain(truth, verifier)
    source = _CASES_SCORER if isinstance(_cases_of(row), Cases) else _SCORERS.get(verifier, f"synth_ray/{verifier}")
    if verifier == "arithmetic" and "/" in plain:
        source = _SCORERS["math"]  # the scorer of gsm8k reads no fraction
    more = {"split": str(row.get("split") or ""), "index": str(row["id"]), "answer": _answer_of(row)} | _measures(row)
    return {
        "data_source": source,
        "prompt": prompt,
        "ability": _ABILITIES.get(verifier, "other"),
        "reward_model": {"style": "rule", "ground_truth": plain},
        "extra_info": {field.name: more.get(field.name) for field in VERL_SCHEMA.field("extra_info").type},
    }


def verifiers(row: Row) -> dict[str, Any]:
    """`info` is JSON text, since a table would give each row the keys of all others."""
    prompt, truth, verifier = _prompt_of(row), _truth_of(row), _verifier_of(row)
    info = {"id": row["id"], "verifier": verifier} | _measures(row)
    return {
        "prompt": prompt,
        "question": prompt[-1]["content"],
        "answer": _plain(truth, verifier),
        "info": canonical_json(info).decode(),
        "task": verifier,
    }


def nemo_gym(row: Row) -> dict[str, Any]:
    """Tests are in `verifier_metadata.unit_tests`, as Gym's `code_gen` takes them; all else is an `expected_answer`."""
    prompt, truth, verifier = _prompt_of(row), _truth_of(row), _verifier_of(row)
    record = {"responses_create_params": {"input": prompt}, "question": prompt[-1]["content"]}
    measures = _measures(row) | {"id": row["id"]}
    if verifier != "code":
        return record | {"expected_answer": _plain(truth, verifier), "verifier_metadata": measures}
    cases = _cases_of(row)
    if not isinstance(cases, Cases):
        raise NotRepresentable("tests that are no cases")
    function = {"fn_name": cases.function} if cases.function else {}
    tests = {"inputs": _lines(cases.inputs), "outputs": _lines(cases.outputs)} | function
    return record | {"verifier_metadata": {"unit_tests": tests} | measures}


REWARD_FORMATS: dict[str, Callable[[Row], dict[str, Any]]] = {
    "trl-grpo": trl_grpo,
    "verl": verl,
    "verifiers": verifiers,
    "nemo-rl": nemo_gym,
}

_TURN = pa.struct([("role", pa.string()), ("content", pa.string())])
_MEASURES: dict[str, pa.DataType] = {
    "pass_rate": pa.float64(),
    "n": pa.int64(),
    "correct": pa.int64(),
    "difficulty": pa.string(),
    "verifier": pa.string(),
}
VERL_SCHEMA = pa.schema(
    [
        ("data_source", pa.string()),
        ("prompt", pa.list_(_TURN)),
        ("ability", pa.string()),
        ("reward_model", pa.struct([("style", pa.string()), ("ground_truth", pa.string())])),
        ("extra_info", pa.struct([("split", pa.string()), ("index", pa.string()), ("answer", pa.string()), *_MEASURES.items()])),
    ]
)
IN_PARQUET: Mapping[str, pa.Schema] = {"verl": VERL_SCHEMA}
"""Formats whose trainer reads Parquet."""


def _prompt_of(row: Row) -> list[Message]:
    """The conversation without its last answer. What a model may call is not among these trainers' columns."""
    if tools_of(row):
        raise NotRepresentable("tools")
    *prompt, _ = conversation_of(row)
    if not prompt or prompt[-1]["role"] not in ("user", "tool"):
        raise NotRepresentable("no question before the answer")
    return prompt


def _answer_of(row: Row) -> str:
    return str(conversation_of(row)[-1]["content"])


def _truth_of(row: Row) -> str:
    truth = field_of(row, "ground_truth")
    if not isinstance(truth, str) or not truth.strip():
        raise NotRepresentable("no ground truth")
    return truth


def _verifier_of(row: Row) -> str:
    return str(field_of(row, "verifier") or "exact")


def _cases_of(row: Row) -> str | Cases:
    return tests_of(_truth_of(row)) if _verifier_of(row) == "code" else ""


def _measures(row: Row) -> dict[str, Any]:
    return {name: field_of(row, name) for name in _MEASURES}


def _plain(truth: str, verifier: str) -> str:
    """The truth as a verifier compares it: of a worked answer its number, in digits."""
    number = gold_number(truth) if verifier == "arithmetic" else None
    if number is None:
        return truth.rpartition("####")[2].strip() if verifier == "math" else truth
    if number.decimals is None:
        return str(number.value)
    return _decimal(number.value, number.decimals)


def _decimal(value: Fraction, decimals: int) -> str:
    """Exactly the value, without zeros at the end of its decimals."""
    digits = f"{abs(int(value * 10**decimals)):0{decimals + 1}d}"
    whole, part = (digits[:-decimals], digits[-decimals:].rstrip("0")) if decimals else (digits, "")
    return ("-" if value < 0 else "") + whole + (f".{part}" if part else "")


def _expression(truth: str, verifier: str) -> str:
    r"""The truth of mathematics in \boxed{}: a parser takes a bare `(1, 2)` for no expression."""
    plain = _plain(truth, verifier)
    if verifier not in ("arithmetic", "math") or any(mark in plain for mark in _DELIMITERS):
        return plain
    return f"\\boxed{{{plain}}}"


def _lines(values: Any) -> list[str]:
    """Inputs or outputs as text: what is not text already is JSON, and a function's arguments one to a line."""
    return [
        value
        if isinstance(value, str)
        else "\n".join(json.dumps(part) for part in value)
        if isinstance(value, list)
        else json.dumps(value)
        for value in values
    ]
