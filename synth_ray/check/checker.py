"""Runs all checks over one staged table. They only flag; admission turns a flag into a reason."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synth_ray.check.grounded import unsupported
from synth_ray.check.judge_reliability import passes
from synth_ray.check.language import open_language_check
from synth_ray.check.mojibake import is_mojibake
from synth_ray.check.quality import echo_shares, script_share
from synth_ray.check.refusal import refusal_pattern, refusals
from synth_ray.check.repetition import repetitions
from synth_ray.check.thoughts import ThoughtRules, cut_thoughts, earlier_thoughts, explained, have_mark, thoughts_in
from synth_ray.check.tokens import TokenCounter, open_counter
from synth_ray.errors import JobError
from synth_ray.job.check import FLAGS, Check
from synth_ray.recipes.finish_reasons import LENGTH
from synth_ray.recipes.json_schema import validator_of
from synth_ray.recipes.with_judge import SCORE
from synth_ray.records import fields_of
from synth_ray.verify.arithmetic import has_wrong_arithmetic
from synth_ray.verify.sandbox import Limits, Sandbox, program_in


def open_checker(
    section: Check,
    *,
    recipe_schema: Mapping[str, Any] | None = None,
    generated: Sequence[str] = (),
    thoughts: ThoughtRules | None = None,
) -> Checker:
    """Build a checker; `recipe_schema` and `generated` are the recipe's (`recipes.contract.Recipe`).

    Raises JobError if an option is missing or invalid, MissingResource if a tokenizer, isolation or a package is missing.
    """
    if section.verify == "label" and not section.labels:
        raise JobError("check.labels: wanted the label set of `verify: label`, got none; list the labels")
    if section.verify == "regex" and not section.pattern:
        raise JobError("check.pattern: wanted the form of `verify: regex`, got none; give a regular expression")
    counter = open_counter(section.tokenizer) if section.tokenizer else None
    sandbox = _sandbox(section) if section.verify == "code" else None
    return Checker(section, counter=counter, schema=recipe_schema, sandbox=sandbox, generated=generated, thoughts=thoughts)


def _sandbox(section: Check) -> Sandbox:
    sandbox = Sandbox(Limits(section.code_seconds, section.code_memory_bytes))
    sandbox.probe()
    return sandbox


class Checker:
    """Flags rows as `job.check.Check` configures. Law: the flags are a function of the rows alone."""

    def __init__(
        self,
        section: Check,
        *,
        counter: TokenCounter | None,
        schema: Mapping[str, Any] | None,
        sandbox: Sandbox | None = None,
        generated: Sequence[str] = (),
        thoughts: ThoughtRules | None = None,
    ) -> None:
        self._section = section
        self._counter = counter
        self._refusal = refusal_pattern(section.refusals)
        self._validator = validator_of(schema) if schema is not None else None
        self._pattern = re.compile(section.pattern)
        self._sandbox = sandbox
        self._generated = generated
        self._is_other_language = open_language_check(section.language) if section.language else None
        self._rules = thoughts or ThoughtRules()
        self._is_wrong_thought = self._thought_language()
        self._labels = frozenset(label.strip().casefold() for label in section.labels)

    def flag_rows(self, staged: pa.Table) -> pa.Table:
        """Fill `flags`. Rows that already have a reason get none. Which flags reject a row is decided at admission."""
        has_answer = np.asarray(pc.is_null(staged["reason"]))
        thoughts = thoughts_in(staged)
        flags = {flag: np.asarray(flagged, bool) for flag, flagged in self._flags(staged).items()}
        cut = cut_thoughts(staged, thoughts, flags["empty_completion"])
        # Where there is no answer, only that is said of it.
        empty = flags["empty_completion"].copy()
        flags = {flag: flagged & (~empty if flag != "empty_completion" else ~cut) for flag, flagged in flags.items()}
        flags |= {"truncated_thought": cut, "no_thought": self._lacks_thought(thoughts) & ~empty}
        in_thought = {
            flag: flagged & has_answer & ~flags["empty_completion"]
            for flag, flagged in self._flags_of_thoughts(staged, thoughts).items()
        }
        staged = explained(staged, {flag: flagged & ~flags[flag] for flag, flagged in in_thought.items()})
        flags |= {flag: flags[flag] | flagged for flag, flagged in in_thought.items()}
        names = [flag for flag in FLAGS if flag in flags]  # in their order; a contradictory label is found at admission
        raised = np.column_stack([flags[flag] & has_answer for flag in names])
        ends = np.concatenate(([0], np.cumsum(raised.sum(axis=1)))).astype(np.int32)
        named = pa.array(names, pa.string()).take(pa.array(np.nonzero(raised)[1]))
        return _set(staged, "flags", pa.ListArray.from_arrays(pa.array(ends), named))

    def _lacks_thought(self, thoughts: Sequence[str]) -> np.ndarray:
        return np.asarray([self._rules.expected and not text for text in thoughts], bool)

    def _flags_of_thoughts(self, staged: pa.Table, thoughts: list[str]) -> dict[str, np.ndarray]:
        """What is wrong with the thoughts of a row, whichever turn they are of."""
        found = {flag: np.zeros(len(thoughts), bool) for flag in ("repetition_loop", "wrong_language")}
        own = [(row, text) for row, text in enumerate(thoughts) if text]
        own += [(row, text) for row, texts in enumerate(earlier_thoughts(staged)) for text in texts]
        for (row, text), share in zip(own, repetitions([text for _, text in own]), strict=True):
            found["repetition_loop"][row] |= share > self._section.max_repetition
            found["wrong_language"][row] |= self._is_wrong_thought(text)
        return found

    def _thought_language(self) -> Callable[[str], bool]:
        """Whether a thought is in another language than it should: as an answer, unless the job says otherwise."""
        languages = self._section.thought_language
        if languages is None:
            return self._is_wrong_language
        return open_language_check(languages) if languages else lambda _: False

    def _flags(self, staged: pa.Table) -> dict[str, Sequence[bool] | np.ndarray]:
        section = self._section
        completions = staged["completion"].to_pylist()
        prompts = staged["prompt"].to_pylist()
        tokens, asked_tokens = self._tokens(staged, completions, prompts)
        return {
            "empty_completion": [not text.strip() for text in completions],
            "truncated": np.asarray(pc.equal(staged["finish_reason"], LENGTH)),
            "thought_in_answer": have_mark(completions, self._rules),
            "too_few_tokens": tokens < section.min_tokens,
            "too_many_tokens": _exceeds(tokens, section.max_tokens) | _exceeds(asked_tokens, section.max_prompt_tokens),
            "schema_mismatch": self._violating_schema(completions),
            "repetition_loop": [share > section.max_repetition for share in repetitions(completions)],
            "refusal": self._refused(staged, completions),
            "echo": [share >= section.echo for share in echo_shares(prompts, completions)],
            "wrong_language": self._in_wrong_language(completions),
            "not_true": self._fails_verification(staged, completions),
            "poorly_judged": self._poorly_judged(staged),
            "mojibake": [is_mojibake(text) for text in completions],
        }

    def _tokens(self, staged: pa.Table, completions: list[str], prompts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Tokens of each answer, without its thought, and of its prompt."""
        if self._counter is None:
            answers = pc.subtract(staged["completion_tokens"], pc.fill_null(staged["reasoning_tokens"], 0))
            return answers.to_numpy(), staged["prompt_tokens"].to_numpy()
        return np.asarray(self._counter(completions)), np.asarray(self._counter(prompts))

    def _violating_schema(self, completions: list[str]) -> list[bool]:
        if self._validator is None:
            return [False] * len(completions)
        return [self._violates_schema(text, self._validator) for text in completions]

    @staticmethod
    def _violates_schema(text: str, validator: Any) -> bool:
        try:
            return not validator.is_valid(json.loads(text))
        except (ValueError, RecursionError):
            return True

    def _refused(self, staged: pa.Table, completions: list[str]) -> list[bool]:
        """Rows in which a text that the recipe generated is a refusal, be it the completion or another."""
        refused = refusals(completions, self._refusal)
        if not self._generated:
            return refused
        others = generated_texts(staged, self._generated)
        own = [(row, text) for row, texts in enumerate(others) for text in texts]
        for (row, _), is_one in zip(own, refusals([text for _, text in own], self._refusal), strict=True):
            refused[row] = refused[row] or is_one
        return refused

    def _in_wrong_language(self, completions: list[str]) -> list[bool]:
        if not self._section.script and self._is_other_language is None:
            return [False] * len(completions)
        return [self._is_wrong_language(text) for text in completions]

    def _is_wrong_language(self, text: str) -> bool:
        script = self._section.script
        if script and script_share(text, script) < 0.5:
            return True
        return self._is_other_language is not None and self._is_other_language(text)

    def _fails_verification(self, staged: pa.Table, completions: list[str]) -> list[bool]:
        match self._section.verify:
            case "arithmetic":
                golds = self._gold_labels(staged)
                return [has_wrong_arithmetic(text, gold) for text, gold in zip(completions, golds, strict=True)]
            case "label":
                golds = self._gold_labels(staged)
                return [self._is_wrong_label(text, gold) for text, gold in zip(completions, golds, strict=True)]
            case "grounded":
                return [
                    self._is_ungrounded(fields, prompt, text)
                    for fields, prompt, text in zip(fields_of(staged), staged["prompt"].to_pylist(), completions, strict=True)
                ]
            case "code":
                tests = [str(fields.get(self._section.tests) or "") for fields in fields_of(staged)]
                programs = [program_in(text) for text in completions]
                assert self._sandbox is not None
                return [not passed for passed in self._sandbox.pass_each(list(zip(programs, tests, strict=True)))]
            case "regex":
                return [self._pattern.fullmatch(text.strip()) is None for text in completions]
        return [False] * len(completions)

    def _poorly_judged(self, staged: pa.Table) -> list[bool]:
        gate = self._section.judge
        if gate is None:
            return [False] * staged.num_rows
        return [SCORE in fields and not passes(fields[SCORE], gate) for fields in fields_of(staged)]

    def _gold_labels(self, staged: pa.Table) -> list[str]:
        return [str(fields.get(self._section.gold) or "") for fields in fields_of(staged)]

    def _is_ungrounded(self, fields: Mapping[str, Any], prompt: str, text: str) -> bool:
        passage, quote = (str(fields.get(name) or "") for name in (self._section.passage, "quote"))
        return unsupported(text, passage, question=prompt, quote=quote, min_support=self._section.min_support) != ""

    def _is_wrong_label(self, text: str, gold: str) -> bool:
        label = text.strip().casefold()
        return label not in self._labels or (bool(gold) and label != gold.strip().casefold())


def generated_texts(staged: pa.Table, names: Sequence[str]) -> list[list[str]]:
    """What the recipe generated in each row beside the completion; see `recipes.contract.Recipe.generated`."""
    texts: list[list[str]] = [[] for _ in range(staged.num_rows)]
    if "prompt" in names:
        texts = [[prompt] for prompt in staged["prompt"].to_pylist()]
    if "turns" in names:
        texts = [own + _generated_turns(turns or []) for own, turns in zip(texts, staged["messages"].to_pylist(), strict=True)]
    if columns := [name for name in names if name not in ("prompt", "turns")]:
        for own, fields in zip(texts, fields_of(staged), strict=True):
            own += [value for name in columns if isinstance(value := fields.get(name), str)]
    return texts


def _generated_turns(turns: Sequence[Mapping[str, str]]) -> list[str]:
    """All turns before the completion, without the system message, the opening and what tools gave."""
    spoken = [turn["content"] or "" for turn in turns if turn["role"] not in ("system", "tool")]
    return spoken[1:-1]


def _exceeds(tokens: np.ndarray, limit: int | None) -> np.ndarray:
    return tokens > limit if limit is not None else np.zeros(len(tokens), bool)


def _set(table: pa.Table, name: str, column: Any) -> pa.Table:
    return table.set_column(table.schema.get_field_index(name), table.schema.field(name), column)
