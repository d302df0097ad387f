"""Runs the verifier that a recipe's options name, without stopping the process that asks.

Law: one verifier per set of options and process, so that its processes are started once; equal answers to one question are
verified once. An answer whose verifier failed by a crash is tried once more, in a fresh process.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, TypeVar

from synth_ray.errors import MissingResource
from synth_ray.job.cores import usable_cores
from synth_ray.recipes.json_answers import JsonVerifier
from synth_ray.records import canonical_json
from synth_ray.verify.answers import LabelVerifier, NumberVerifier, PatternVerifier, TextVerifier
from synth_ray.verify.functions import NAME, FunctionVerifier, require_function
from synth_ray.verify.maths import MathVerifier, require_math_verify
from synth_ray.verify.programs import CodeVerifier
from synth_ray.verify.sandbox import Limits, Sandbox
from synth_ray.verify.verdict import Verdict, Verified, Verifier, VerifierFailed

VERIFIERS = ("arithmetic", "math", "label", "exact", "regex", "json_schema", "code")
WITH_FINAL_ANSWER = ("arithmetic", "math", "label", "exact", "regex")
"""Verifiers that tell the final answer, by which votes are counted."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Verifying:
    """Which verifier, and its limits. `schema` is canonical JSON, '' for none."""

    name: str
    labels: tuple[str, ...] = ()
    schema: str = ""
    seconds: float = 10.0
    memory_bytes: int = 1_000_000_000
    right_from: float = 0.5

    @classmethod
    def by(cls, name: str, *, labels: Sequence[str], schema: Mapping[str, Any] | None, **limits: Any) -> Verifying:
        return cls(name, tuple(labels), canonical_json(schema).decode() if schema is not None else "", **limits)


@lru_cache(maxsize=32)
def verifier_of(chosen: Verifying) -> Verifier:
    """The verifier of this process."""
    match chosen.name:
        case "arithmetic":
            return NumberVerifier()
        case "math":
            return MathVerifier(seconds=chosen.seconds, memory_bytes=chosen.memory_bytes)
        case "label":
            return LabelVerifier(chosen.labels)
        case "exact":
            return TextVerifier()
        case "regex":
            return PatternVerifier()
        case "json_schema":
            return JsonVerifier(_loaded(chosen.schema), seconds=chosen.seconds)
        case "code":
            return CodeVerifier(Limits(chosen.seconds, chosen.memory_bytes))
    return FunctionVerifier(chosen.name, seconds=chosen.seconds, right_from=chosen.right_from)


def _loaded(schema: str) -> dict[str, Any] | None:
    return json.loads(schema) if schema else None


@lru_cache(maxsize=32)
def require_verifier(name: str) -> None:
    """Raise ValueError where there is no such verifier, or this host cannot run it."""
    asked_by = "recipe.verifier"
    try:
        if name == "math":
            require_math_verify(asked_by)
        elif name == "code":
            Sandbox().probe(asked_by=asked_by)
        elif name not in VERIFIERS:
            if NAME.fullmatch(name) is None:
                raise ValueError(
                    f"wanted one of {', '.join(VERIFIERS)}, or your own as package.module:function, got '{name[:80]}'"
                )
            require_function(name)
    except MissingResource as error:
        raise ValueError(str(error).removeprefix(f"{asked_by}: ")) from None
    except VerifierFailed as error:
        raise ValueError(f"wanted a function that can be called, got '{name[:80]}' ({error}); is it on PYTHONPATH?") from None


async def fault_of(verifier: Verifier, gold: Any, reference: str | None) -> tuple[Verdict, str] | None:
    """Why nothing can be verified against this gold, before anything is asked. `reference` is an answer known to be right."""
    try:
        fault = await _off_the_loop(verifier, lambda: verifier.fault_of(gold))
    except VerifierFailed as error:
        return Verdict.VERIFIER_FAILED, str(error)
    if fault:
        return Verdict.UNVERIFIABLE, fault
    if reference is None:
        return None
    [verified] = await verify_all(verifier, [reference], gold)
    if verified.verdict is Verdict.RIGHT:
        return None
    if verified.verdict is Verdict.VERIFIER_FAILED:
        return verified.verdict, f"on the reference: {verified.detail}"
    return Verdict.UNVERIFIABLE, f"the reference is not right: {verified.detail or verified.verdict.value}"


async def verify_all(verifier: Verifier, answers: Sequence[str], gold: Any) -> list[Verified]:
    """The verdict on each answer, in their order."""
    distinct = list(dict.fromkeys(answers))
    verified = await asyncio.gather(*[_off_the_loop(verifier, partial(_verified, verifier, text, gold)) for text in distinct])
    by_text = dict(zip(distinct, verified, strict=True))
    return [by_text[text] for text in answers]


def _verified(verifier: Verifier, answer: str, gold: Any) -> Verified:
    verified = verifier.verify(answer, gold)
    if verified.verdict is Verdict.VERIFIER_FAILED and verified.detail == CRASHED:
        return verifier.verify(answer, gold)
    return verified


CRASHED = "the process ended"


async def _off_the_loop(verifier: Verifier, work: Callable[[], _T]) -> _T:
    """Run the work where it may block, as many at once as there are cores: more programs than these would run out of time."""
    return work() if verifier.is_quick else await asyncio.get_running_loop().run_in_executor(_threads(), work)


@lru_cache(maxsize=1)
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(usable_cores(), "verifier")
