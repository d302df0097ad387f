"""`label`: labels, scores or extracted fields for real text, by guided decoding and K votes.

The text is real, the label is the teacher's. Decoding is guided, so an answer outside the label set is impossible. K votes are
self-consistency (Wang et al., 2022, arXiv 2203.11171); the share that agrees shows how difficult a row is and how far to trust
its label.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import field_validator, model_validator

from synth_ray.job.section import Section, key
from synth_ray.job.texts import distinct_labels, refuse_other_than_text
from synth_ray.recipes.contract import ANY_LENGTH, Ask, Completion, Constraint, Recipe, conversation, drafted
from synth_ray.recipes.json_schema import JsonSchema, embedded, validator_of
from synth_ray.recipes.templates import JinjaTemplate, render
from synth_ray.recipes.votes import Majority, majority
from synth_ray.records import Draft, Reason, Request, canonical_json

TEMPLATE = """{% if labels %}Classify the text. Answer with one of: {{ labels | join(", ") }}.
{% for name, told in descriptions.items() if told %}- {{ name }}: {{ told }}
{% endfor %}{% else %}Read the text and fill in the fields.
{% endif %}Text: {{ prompt }}"""


class Label(Section):
    """Options of `label`. Exactly one of `labels`, `scale` and `schema` defines the answers."""

    template: JinjaTemplate = key(
        TEMPLATE, "Jinja template of the question; sees the seed's fields, `labels` and their `descriptions`.", min_length=1
    )
    system: str = key("", "System message of the ask.")
    labels: dict[str, str] = key(dict, "The closed label set: a list, or a mapping from label to what it means.")
    scale: tuple[int, int] | None = key(None, "A score instead of a label: the lowest and the highest whole number.")
    schema_: JsonSchema | None = key(None, "Fields to extract instead of a label, as a JSON Schema.", alias="schema")
    votes: int = key(1, "Independent votes per row; more than one needs a temperature.", ge=1, le=64)
    temperature: float | None = key(None, "Temperature of a vote; left out, 0 for one vote and 0.7 for several.", ge=0, le=5)
    min_agreement: float = key(0.5, "Share of votes the winner needs; below it the row is rejected(no_agreement).", ge=0, le=1)
    rationale: bool = key(False, "Ask for a reason before the label; the winning vote's goes to the column `rationale`.")
    rationale_characters: int = key(400, "Longest rationale, in characters.", ge=20, le=4000)
    gold: str = key("", "Field of the seed with the true label, where it is known: compared, never shown to the teacher.")
    keep: list[str] = key(lambda: [], "Fields of the seed that are copied to the row.")

    @field_validator("labels", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        if isinstance(value, (list, dict)):
            refuse_other_than_text(value)
            distinct_labels(list(value))
        return dict.fromkeys(value, "") if isinstance(value, list) else value

    @model_validator(mode="after")
    def _one_kind(self) -> Label:
        kinds = [n for n, v in (("labels", self.labels), ("scale", self.scale), ("schema", self.schema_)) if v]
        if len(kinds) != 1:
            raise ValueError(f"wanted one of labels, scale and schema, got {' and '.join(kinds) or 'none'}; keep one")
        if len(self.allowed) == 1 or (self.scale and self.scale[0] >= self.scale[1]):
            raise ValueError("wanted at least two labels or scores to choose from, got fewer; add one")
        if self.votes > 1 and self.temperature == 0:
            raise ValueError(f"wanted a temperature above 0 for {self.votes} votes, got 0: they would all be the same vote")
        return self

    @property
    def allowed(self) -> tuple[str, ...]:
        """The closed set of answers in order; empty if fields are extracted."""
        if self.scale is not None:
            return tuple(str(score) for score in range(self.scale[0], self.scale[1] + 1))
        return tuple(self.labels)

    @property
    def constraint(self) -> Constraint:
        if self.allowed and not self.rationale:
            return Constraint(choices=self.allowed)
        return Constraint(json_schema=self.answer_schema)

    @property
    def answer_schema(self) -> dict[str, Any]:
        """With a rationale, the reason comes before the label, so that the label can follow from it."""
        answer: dict[str, Any] = {"enum": list(self.allowed)} if self.allowed else dict(self.schema_ or {})
        if not self.rationale:
            return answer
        dialect = {"$schema": answer.pop("$schema")} if "$schema" in answer else {}
        rationale = {"type": "string", "maxLength": self.rationale_characters}
        properties = {"rationale": rationale, "answer": embedded(answer, "#/properties/answer")}
        return dialect | {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }

    @property
    def effective_temperature(self) -> float:
        return self.temperature if self.temperature is not None else (0.7 if self.votes > 1 else 0.0)


async def make(request: Request, ask: Ask, options: Label) -> list[Draft]:
    text = render(options.template, _without_gold(request, options), labels=options.allowed, descriptions=options.labels)
    prompt = conversation(options.system, text)
    answers = await ask.many(prompt, options.votes, constraint=options.constraint, temperature=options.effective_temperature)
    parsed = [_parse(answer, options) for answer in answers]
    vote = majority([label for label, _ in parsed], options.allowed)
    if vote is None:
        return [Draft(prompt, "", reason=Reason.NO_ANSWER, detail="no vote was cast: each was cut off or did not fit")]
    label, rationale = parsed[vote.winner]
    draft = drafted(request.seed.fields["prompt"], answers[vote.winner], fields=_fields(request, options, vote, label, rationale))
    draft.completion, draft.finish_reason = label or "", "stop"
    if vote.agreement < options.min_agreement:
        draft.reason, draft.detail = Reason.NO_AGREEMENT, f"{vote.agreement:.2f} of {options.votes} votes"
    return [draft]


def _without_gold(request: Request, options: Label) -> Request:
    """The request without the gold label, so that no template can show it to the teacher."""
    if not options.gold:
        return request
    fields = {name: value for name, value in request.seed.fields.items() if name != options.gold}
    seed = request.seed
    unlabelled = type(seed)(seed.id, seed.lineage, seed.split, fields, seed.source, seed.line, seed.origin, seed.depth)
    return Request(request.id, request.chunk, request.position, unlabelled, request.slots, (), request.random_seed)


def _parse(answer: Completion, options: Label) -> tuple[str | None, str]:
    """(answer in canonical form, rationale). The answer is None if it is truncated or does not fit."""
    text = answer.text.strip()
    if options.allowed and not options.rationale:
        return (text if text in options.allowed else None), ""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None, ""
    if not validator_of(options.answer_schema).is_valid(value):
        return None, ""
    label, rationale = (value["answer"], value["rationale"]) if options.rationale else (value, "")
    return label if options.allowed else canonical_json(label).decode(), str(rationale)


def _fields(request: Request, options: Label, vote: Majority, label: str | None, rationale: str) -> dict[str, Any]:
    fields = {name: request.seed.fields.get(name) for name in options.keep}
    fields |= {"agreement": vote.agreement, "votes": vote.counts}
    if options.rationale:
        fields["rationale"] = rationale
    if options.gold:
        value = request.seed.fields.get(options.gold)
        gold = value.strip() if isinstance(value, str) else canonical_json(value).decode()
        fields |= {"gold": None, "matches_gold": None} if value is None else {"gold": gold, "matches_gold": label == gold}
    return fields


def _columns(options: Label) -> dict[str, str]:
    columns = dict.fromkeys(options.keep, "json") | {"agreement": "float", "votes": "json"}
    columns |= {"rationale": "string"} if options.rationale else {}
    return columns | ({"gold": "string", "matches_gold": "bool"} if options.gold else {})


RECIPE = Recipe(
    name="label",
    options=Label,
    make=make,
    asks=lambda o: o.votes,
    compares=lambda _: ("prompt",),  # two labels of one text are duplicates
    label_words=lambda _: ANY_LENGTH,
    generated=lambda o: ("rationale",) if o.rationale else (),
    schema=lambda o: o.schema_,
    templates=lambda o: {"template": o.template},
    columns=_columns,
)
