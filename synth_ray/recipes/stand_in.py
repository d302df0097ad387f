"""`stand_in`: records to show in place of sensitive ones: the same fields, similar distributions, and none of them a real record.

Categories, numbers and dates are sampled from distributions learned from the table; the teacher writes the free text. That
nothing is copied is verified: rows that repeat a real record are rejected(copied), planted canaries are searched for, and a test
against held-out records shows whether rows disclose the shown ones (after arXiv 2606.16952 and 2502.14921). Distance alone is no
privacy (arXiv 2505.01524).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable
from typing import Any

from pydantic import field_validator

from synth_ray.errors import AskFailed, JobError
from synth_ray.job.section import Section, key
from synth_ray.recipes.contract import CANARY, Ask, Recipe, Shield, conversation, user
from synth_ray.recipes.json_schema import JsonSchema, validator_of
from synth_ray.recipes.marginals import learn_marginals, sample_record
from synth_ray.recipes.parts import LONGEST_PART, parts_of, parts_schema
from synth_ray.recipes.templates import JinjaTemplate, compile_expression, holds, render
from synth_ray.records import Draft, Reason, Request, Seed, canonical_json, digest

TEMPLATE = """Here are records:
{% for shot in shots %}- {% for name in record %}{{ name }}: {{ shot.get(name) }}{{ "; " if not loop.last }}{% endfor %}
{% endfor %}
Make up another one, with {% for name, value in drawn.items() %}{{ name }}: {{ value }}; {% endfor %}
write its {{ texts | join(" and ") }}. Take over no name, number or sentence.
{%- if texts | length > 1 %} Reply as JSON, keys {{ texts | join(", ") }}.{% else %} Reply with that alone.{% endif %}"""

_KINDS = {"integer": "integer", "number": "number", "boolean": "category", "string": "text"}
_COLUMNS = {"integer": "int", "number": "float", "date": "string", "text": "string"}
_NOT_IN_A_RECORD = ("prompt", "answer", "messages")


class StandIn(Section):
    """Options of `stand_in`. A seed is one record; `seeds.shape: record` accepts any row as one."""

    record: list[str] = key(list, "Fields that make a record; left out, all of the seed's.")
    schema_: JsonSchema | None = key(
        None, "JSON Schema of a record; what it leaves out is inferred from the seeds' values.", alias="schema"
    )
    constraints: list[str] = key(list, "Jinja expressions over the record that must hold, as `discharged >= admitted`.")
    together: list[list[str]] = key(list, "Groups of fields drawn as one, so that only combinations of the seeds occur.")
    rarer_than: int = key(5, "Values and combinations that fewer records hold are never drawn.", ge=1)
    template: JinjaTemplate = key(
        TEMPLATE, "Jinja template of the ask; sees the seed's fields, `shots`, `record`, `drawn` and `texts`."
    )
    system: str = key("", "System message of the ask.")
    shots: int = key(3, "Real records shown as examples; with 0, the teacher learns nothing of their style.", ge=0, le=32)
    n: int = key(1, "Records per request, each its own row.", ge=1, le=64)
    part_characters: int = key(2000, LONGEST_PART, ge=8)
    longest_run: int = key(50, "Words in a row that a text may not share with one real record.", ge=8, le=50)
    coverage: float = key(0.5, "Share of a real text that a row may not repeat, in runs of eight words.", gt=0, le=1)
    holdout: float = key(0.2, "Share of the records that is never shown, to test what showing the rest discloses.", ge=0, lt=1)
    canaries: int = key(0, "Made-up records planted among the seeds and searched for in the answers.", ge=0)
    table: dict[str, Any] = key(dict, "Distributions learned from the seeds; set by the program, not by you.")

    @field_validator("constraints")
    @classmethod
    def _compile(cls, value: list[str]) -> list[str]:
        for source in value:
            try:
                compile_expression(source)
            except JobError as error:
                raise ValueError(str(error)) from None
        return value

    @property
    def kinds(self) -> dict[str, str]:
        """Kinds of fields by the schema, where it defines them."""
        kinds: dict[str, str] = {}
        for name, schema in ((self.schema_ or {}).get("properties") or {}).items():
            kind = _kind_by_schema(schema) if isinstance(schema, dict) else None
            kinds |= {name: kind} if kind is not None else {}
        return kinds

    @property
    def fields(self) -> list[str]:
        return list(self.table.get("fields", {})) or self.record

    @property
    def texts(self) -> list[str]:
        """The fields that the teacher writes."""
        return [name for name, field in self.table.get("fields", {}).items() if field["kind"] == "text"]


def _kind_by_schema(schema: dict[str, Any]) -> str | None:
    if "enum" in schema:
        return "category"
    if schema.get("format") == "date":
        return "date"
    types = schema.get("type")
    known = [str(name) for name in (types if isinstance(types, list) else [types]) if name != "null"]
    return _KINDS.get(known[0]) if len(known) == 1 else None


def learn(options: StandIn, seeds: Iterable[Seed]) -> dict[str, Any]:
    records = [seed.fields for seed in seeds if seed.source != CANARY]
    names = options.record or list(dict.fromkeys(name for record in records for name in record if name not in _NOT_IN_A_RECORD))
    table = learn_marginals(records, names, kinds=options.kinds, together=options.together, rarer_than=options.rarer_than)
    return {"table": table}


async def make(request: Request, ask: Ask, options: StandIn) -> list[Draft]:
    return list(await asyncio.gather(*[_record(request, ask, options, slot) for slot in range(options.n)]))


async def _record(request: Request, ask: Ask, options: StandIn, slot: int) -> Draft:
    values = sample_record(options.table, random.Random(digest("stand_in", request.id, slot)))
    names = {"record": options.fields, "drawn": values, "texts": options.texts}
    messages = [user(f"Make up a record of {', '.join(options.fields)}.")]
    try:
        prompt = conversation(options.system, render(options.template, request, **names))
        answer = await ask(
            prompt, constraint=parts_schema(*options.texts, longest=options.part_characters) if len(options.texts) > 1 else None
        )
    except AskFailed as error:
        return Draft(messages, "", values, reason=Reason(error.reason), detail=error.detail)
    written = _parse_texts(answer.text, options.texts)
    if written is None:
        return Draft(messages, answer.text, values, answer.finish_reason, reason=Reason.SCHEMA_MISMATCH, detail="no texts")
    record = {name: {**values, **written}[name] for name in options.fields}
    draft = Draft(
        messages, canonical_json(record).decode(), record, answer.finish_reason, answer.prompt_tokens, answer.completion_tokens
    )
    if broken := _violation(record, options):
        draft.reason, draft.detail = Reason.SCHEMA_MISMATCH, broken
    return draft


def _parse_texts(answer: str, texts: list[str]) -> dict[str, str] | None:
    """The texts by field: a single text is the whole answer, several are its JSON parts. None if one is missing."""
    if len(texts) > 1:
        return parts_of(answer, *texts)
    return {texts[0]: answer.strip()} if answer.strip() else None


def _violation(record: dict[str, Any], options: StandIn) -> str:
    """What the record violates, without its values; empty if nothing."""
    if options.schema_ is not None and not validator_of(options.schema_).is_valid(record):
        return "does not fit recipe.schema"
    broken = [source for source in options.constraints if not holds(source, record)]
    return f"breaks {broken[0]}" if broken else ""


def _columns(options: StandIn) -> dict[str, str]:
    return {name: _column(field) for name, field in options.table.get("fields", {}).items()}


def _column(field: dict[str, Any]) -> str:
    if field["kind"] != "category":
        return _COLUMNS[field["kind"]]
    types = {type(value) for value, _ in field["values"]}
    return {bool: "bool", int: "int", float: "float", str: "string"}.get(types.pop(), "json") if len(types) == 1 else "json"


RECIPE = Recipe(
    name="stand_in",
    options=StandIn,
    make=make,
    slots=lambda o: o.n,
    shots=lambda o: o.shots,
    asks=lambda o: o.n,
    compares=lambda o: tuple(o.texts),
    generated=lambda o: tuple(o.texts),
    templates=lambda o: {"template": o.template},
    columns=_columns,
    learn=learn,
    shield=lambda o: Shield(
        kinds={name: field["kind"] for name, field in o.table.get("fields", {}).items()},
        rarer_than=o.rarer_than,
        longest_run=o.longest_run,
        coverage=o.coverage,
        holdout=o.holdout,
        canaries=o.canaries,
    ),
)
