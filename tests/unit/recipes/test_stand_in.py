"""Stand-ins keep the table's marginals and its constraints, and draw nothing rare."""

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
from synth_ray.ask.teacher import Teacher
from synth_ray.errors import JobError
from synth_ray.job.models import Sampling
from synth_ray.recipes.marginals import learn_marginals, sample_record
from synth_ray.recipes.stand_in import RECIPE, StandIn, learn
from synth_ray.records import Draft, Request, Seed, digest
from tests.unit.recipes.standins import says, seed


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


def learned(rows: list[dict[str, Any]], **options: Any) -> StandIn:
    chosen = StandIn.model_validate(options)
    seeds = [Seed(digest(n), digest(n), "train", {"prompt": "a record", **row}) for n, row in enumerate(rows)]
    return chosen.model_copy(update=learn(chosen, seeds))


def made(options: StandIn, teacher: Teacher, requests: int = 1) -> list[Draft]:
    asker = Asker(RECIPE, options=options, teachers={"teacher": teacher}, sampling=Sampling(max_tokens=64), deadline_s=60)
    asked = [Request(digest("r", n), 0, n, seed(), options.n) for n in range(requests)]

    async def all_of_them() -> list[Draft]:
        return [draft for outcome in await asyncio.gather(*map(asker.run, asked)) for draft in outcome.drafts]

    return asyncio.run(all_of_them())


@given(st.integers(0, 2**32))
def test_marginals_are_kept_and_nothing_rare_is_drawn(number: int) -> None:
    draw = random.Random(number)
    rows = table(draw)
    options = learned(rows, together=[["plan", "region"]])
    found = [sample_record(options.table, random.Random(digest(number, n))) for n in range(1500)]
    pairs, real = (Counter((one["plan"], one["region"]) for one in some) for some in (found, rows))
    assert set(pairs) <= {("basic", "north"), ("basic", "south"), ("pro", "east")}
    for pair, n in pairs.items():
        assert abs(n / 1500 - real[pair] / len(rows)) < 0.06
    assert max(one["age"] for one in found) < 90
    for name, spread in (("age", 60), ("cost", 120)):
        mean, truth = (sum(one[name] for one in some) / len(some) for some in (found, rows))
        assert abs(mean - truth) < 0.06 * spread
    assert {one["seen"][:4] for one in found} == {"2025"}


def test_texts_are_the_teachers_and_the_rest_is_drawn() -> None:
    options = learned(table(random.Random(1)), n=2, shots=0)
    drafts = made(options, says("a new note"), requests=3)
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
    two = learned([row | {"advice": f"advice {n}, and more"} for n, row in enumerate(table(random.Random(1)))])
    [draft] = made(two, says('{"advice":"rest","note":"was here"}'))
    assert (draft.fields["advice"], draft.fields["note"]) == ("rest", "was here")
    [broken] = made(two, says('{"advice":"rest"}'))
    assert broken.reason == "schema_mismatch"


def test_a_constraint_and_a_schema_hold_for_every_row() -> None:
    rows = table(random.Random(2))
    options = learned(rows, constraints=["age >= 50"], schema={"properties": {"age": {"type": "integer", "maximum": 70}}})
    drafts = made(options, says("a note"), requests=200)
    kept = [draft.fields["age"] for draft in drafts if draft.reason is None]
    assert 30 < len(kept) < 150
    assert all(50 <= age <= 70 for age in kept)
    assert {draft.detail for draft in drafts if draft.reason} == {"breaks age >= 50", "does not fit recipe.schema"}


def test_tables_that_cannot_be_stood_in_for_are_refused() -> None:
    rows = table(random.Random(3))
    with pytest.raises(JobError, match="wanted a field of free text"):
        learned([{"plan": row["plan"]} for row in rows])
    with pytest.raises(JobError, match="wanted values that at least 5 records hold"):
        learned(rows[:6])
    with pytest.raises(JobError, match="wanted fields of few values, got cost"):
        learned(rows, together=[["plan", "cost"]])
    with pytest.raises(ValidationError, match="wanted a valid Jinja expression"):
        StandIn.model_validate({"constraints": ["age >"]})
    assert (
        learn_marginals(rows, ["plan", "note"], kinds={"plan": "text"}, together=[], rarer_than=5)["fields"]["plan"]["kind"]
        == "text"
    )


@pytest.mark.vllm
def test_two_texts_at_once_on_the_real_engine(vllm_teacher: Teacher) -> None:
    rows = [row | {"advice": f"advice {n}, and more"} for n, row in enumerate(table(random.Random(1)))]
    options = learned(rows, n=4)
    drafts = made(options, vllm_teacher)
    assert len(drafts) == 4
    assert {draft.reason for draft in drafts} <= {None, "schema_mismatch"}
    assert all(draft.fields["plan"] in ("basic", "pro") for draft in drafts)
