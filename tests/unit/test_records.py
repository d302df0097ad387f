"""Requests, their digests and their rows are the same whichever way is the fast one."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from synth_ray.ask.rows import rows_by_chunk
from synth_ray.cluster.request_tuples import requests_from_tuples, requests_to_tuples
from synth_ray.records import Draft, Origin, Outcome, Request, Seed, canonical_json, texts_of_turns

_FIELDS = st.dictionaries(
    st.text(max_size=3), st.one_of(st.none(), st.integers(), st.text(max_size=5), st.lists(st.text())), max_size=3
)
_SEEDS = st.builds(
    Seed, st.text(), st.text(), st.text(), _FIELDS, st.text(), st.integers(), st.sampled_from(list(Origin)), st.integers(0, 9)
)
_SHOTS = st.lists(_SEEDS, max_size=3).map(tuple)
_REQUESTS = st.builds(
    Request, st.text(), st.integers(0), st.integers(0), _SEEDS, st.integers(0, 9), _SHOTS, st.integers(), st.integers()
)


@given(st.lists(_REQUESTS, max_size=4))
def test_requests_survive_serialization(requests: list[Request]) -> None:
    assert requests_from_tuples(pickle.loads(pickle.dumps(requests_to_tuples(requests)))) == requests


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(_JSON)
def test_canonical_json_is_what_the_json_module_writes(value: Any) -> None:
    written = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert canonical_json(value) == written.encode("utf-8", "backslashreplace")


_TURNS = st.lists(
    st.fixed_dictionaries(
        {"role": st.just("user"), "content": st.text()}, optional={"reasoning": st.sampled_from(["", " ", "so"])}
    ),
    max_size=3,
)


@given(st.lists(st.tuples(_TURNS, st.text(), st.sampled_from(["", "hm"])), min_size=1, max_size=4))
def test_a_row_has_the_turns_of_its_prompt_and_the_answer_if_there_is_one(drafts: list[tuple[Any, str, str]]) -> None:
    seed = Seed("s", "l", "train", {})
    outcomes = [
        Outcome(Request(f"r{place}", 0, place, seed, 1), [Draft(turns, answer, reasoning=thought)])
        for place, (turns, answer, thought) in enumerate(drafts)
    ]
    messages = rows_by_chunk(outcomes)[0].rows.to_pydict()["messages"]
    for (turns, answer, thought), found in zip(drafts, messages, strict=True):
        wanted = [*turns, *([{"role": "assistant", "content": answer, "reasoning": thought}] if answer else [])]
        assert [turn["content"] for turn in found] == [turn["content"] for turn in wanted]
        thoughts = [turn.get("reasoning", "") for turn in wanted]
        assert [turn["reasoning"] for turn in found] == [text if text.strip() else None for text in thoughts]


def test_the_texts_of_turns_are_those_of_each_row_in_its_order() -> None:
    seed, drafts = (
        Seed("s", "l", "train", {}),
        [Draft([{"role": "user", "content": str(n)}] * n, "a" * (n % 2)) for n in range(4)],
    )
    rows = rows_by_chunk(Outcome(Request(f"r{n}", 0, n, seed, 1), [draft]) for n, draft in enumerate(drafts))[0].rows
    texts = [[], ["1", "a"], ["2", "2"], ["3", "3", "3", "a"]]
    assert texts_of_turns(pa.Table.from_batches([rows, rows.slice(1, 2)])["messages"], "content") == [*texts, *texts[1:3]]
