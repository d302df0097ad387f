"""`stand_in`: synthetic records keep the table's marginals and constraints and contain no rare values."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from synth_ray.ask.asker import Asker
from synth_ray.ask.deadline import Deadline
from synth_ray.ask.teacher import Teacher
from synth_ray.errors import JobError
from synth_ray.job.sampling import Sampling
from synth_ray.recipes.marginals import learn_marginals, sample_record
from synth_ray.recipes.stand_in import RECIPE, StandIn, learn
from synth_ray.records import Draft, Request, Seed, digest
from tests.unit.recipes.fake_teacher import replying, seed


def table(draw: random.Random, n: int = 400) -> list[dict[str, Any]]:
    region = {"basic": ["north", "south"], "pro": ["east"]}
    rows = []
    for number in range(n):
        plan = draw.choices(["basic", "pro"], [3, 1])[0]
        day = date(2025, 1, 1).toordinal() + draw.randrange(300)
        row = {
            "plan": plan,
            "region": draw.choice(region[plan]),
            "age": draw.randint(20, 79),
            "cost": round(draw.gauss(90, 20), 2),
        }
        rows.append(row | {"seen": date.fromordinal(day).isoformat(), "note": f"note number {number} of many"})
    rows[7] |= {"plan": "founder", "age": 118}
    return rows


def learned_options(rows: list[dict[str, Any]], **options: Any) -> StandIn:
    chosen = StandIn.model_validate(options)
    seeds = [Seed(digest(n), digest(n), "train", {"prompt": "a record", **row}) for n, row in enumerate(rows)]
    return chosen.model_copy(update=learn(chosen, seeds))


def drafts_of(options: StandIn, teacher: Teacher, requests: int = 1) -> list[Draft]:
    asker = Asker(
        RECIPE, options=options, teachers={"teacher": teacher}, sampling=Sampling(max_tokens=64), deadline=Deadline(60, tokens=1)
    )
    planned = [Request(digest("r", n), 0, n, seed(), options.n) for n in range(requests)]

    async def run_all() -> list[Draft]:
        return [draft for outcome in await asyncio.gather(*map(asker.run, planned)) for draft in outcome.drafts]

    return asyncio.run(run_all())


@given(st.integers(0, 2**32))
def test_marginals_are_kept_and_rare_values_are_not_drawn(number: int) -> None:
    draw = random.Random(number)
    rows = table(draw)
    options = learned_options(rows, together=[["plan", "region"]])
    sampled = [sample_record(options.table, random.Random(digest(number, n))) for n in range(1500)]
    pairs, real = (Counter((row["plan"], row["region"]) for row in table_rows) for table_rows in (sampled, rows))
    assert set(pairs) <= {("basic", "north"), ("basic", "south"), ("pro", "east")}
    for pair, n in pairs.items():
        assert abs(n / 1500 - real[pair] / len(rows)) < 0.06
    assert max(row["age"] for row in sampled) < 90
    for name, spread in (("age", 60), ("cost", 120)):
        mean, truth = (sum(row[name] for row in table_rows) / len(table_rows) for table_rows in (sampled, rows))
        assert abs(mean - truth) < 0.06 * spread
    assert {row["seen"][:4] for row in sampled} == {"2025"}


def test_text_fields_are_generated_and_the_others_are_sampled() -> None:
    options = learned_options(table(random.Random(1)), n=2, shots=0)
    drafts = drafts_of(options, replying("a new note"), requests=3)
    assert len({draft.completion for draft in drafts}) == 6
    assert {draft.fields["note"] for draft in drafts} == {"a new note"}
    assert RECIPE.columns(options) == {
        "plan": "string",
        "region": "string",
        "age": "int",
        "cost": "float",
        "seen": "string",
        "note": "string",
    }
    two_texts = learned_options([row | {"advice": f"advice {n}, and more"} for n, row in enumerate(table(random.Random(1)))])
    [draft] = drafts_of(two_texts, replying('{"advice":"rest","note":"was here"}'))
    assert (draft.fields["advice"], draft.fields["note"]) == ("rest", "was here")
    [broken] = drafts_of(two_texts, replying('{"advice":"rest"}'))
    assert broken.reason == "schema_mismatch"


def test_a_constraint_and_a_schema_hold_for_every_row() -> None:
    rows = table(random.Random(2))
    options = learned_options(rows, constraints=["age >= 50"], schema={"properties": {"age": {"type": "integer", "maximum": 70}}})
    drafts = drafts_of(options, replying("a note"), requests=200)
    kept = [draft.fields["age"] for draft in drafts if draft.reason is None]
    assert 30 < len(kept) < 150
    assert all(50 <= age <= 70 for age in kept)
    assert {draft.detail for draft in drafts if draft.reason} == {"breaks age >= 50", "does not fit recipe.schema"}


def test_unsuitable_tables_and_options_are_refused() -> None:
    rows = table(random.Random(3))
    with pytest.raises(JobError, match="wanted a field of free text"):
        learned_options([{"plan": row["plan"]} for row in rows])
    with pytest.raises(JobError, match="wanted values that at least 5 records hold"):
        learned_options(rows[:6])
    with pytest.raises(JobError, match="wanted fields of few values, got cost"):
        learned_options(rows, together=[["plan", "cost"]])
    with pytest.raises(ValidationError, match="wanted a valid Jinja expression"):
        StandIn.model_validate({"constraints": ["age >"]})
    assert (
        learn_marginals(rows, ["plan", "note"], kinds={"plan": "text"}, together=[], rarer_than=5)["fields"]["plan"]["kind"]
        == "text"
    )


@pytest.mark.vllm
def test_two_text_fields_at_once_on_the_real_engine(vllm_teacher: Teacher) -> None:
    rows = [row | {"advice": f"advice {n}, and more"} for n, row in enumerate(table(random.Random(1)))]
    options = learned_options(rows, n=4)
    drafts = drafts_of(options, vllm_teacher)
    assert len(drafts) == 4
    assert {draft.reason for draft in drafts} <= {None, "schema_mismatch"}
    assert all(draft.fields["plan"] in ("basic", "pro") for draft in drafts)
