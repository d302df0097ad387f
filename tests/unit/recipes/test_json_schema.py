"""JSON Schemas of a job: what is refused before a run, and that what is accepted can be validated with."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import date
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from synth_ray.errors import JobError
from synth_ray.job.recipe import RecipeChoice
from synth_ray.recipes.catalogue import find, options_of
from synth_ray.recipes.json_schema import embedded, require_schema, validator_of
from synth_ray.recipes.label import Label

DRAFT_7 = "http://json-schema.org/draft-07/schema#"


def of(part: Any, **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"price": part}, **more}


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (of({"$ref": "#/$defs/money"}), "'#/\\$defs/money' at #/properties/price, which leads nowhere"),
        (of({"$ref": "#money"}), "leads nowhere"),
        (of({"$dynamicRef": "#money"}), "leads nowhere"),
        (of({"$ref": "money.json"}), "leads out of it; nothing is fetched"),
        (of({"$ref": "https://schemas.test/money"}), "leads out of it"),
        (of({"$ref": "#/title"}, title="Offer"), "leads to a str"),
        (of({"$ref": "#/shared/money"}, shared={"money": {"type": "nubmer"}}), "'nubmer' at #/shared/money/type; did you mean"),
        ({"type": "strng"}, "got 'strng' at #/type; did you mean 'string'?"),
        (of({"anyOf": [{"type": "number"}, {"type": "text"}]}), "got 'text' at #/properties/price/anyOf/1/type"),
        ({"$schema": "https://schemas.test/mine"}, "a `\\$schema` of json-schema.org"),
        (of({"type": "string", "pattern": "[0-9"}), "'\\[0-9' at #/properties/price/pattern.*at position 0"),
        ({"patternProperties": {"(x": {}}}, "'\\(x' at #/patternProperties.*position 0"),
        ({"required": "price"}, "#/required: 'price' is not of type 'array'"),
        ({"$ref": "#"}, "lead back to where they begin: # → #"),
        (of({"$ref": "#/$defs/a"}, **{"$defs": {"a": {"not": {"$ref": "#/$defs/a"}}}}), "lead back to where they begin"),
        (of({"$ref": "#"}, required=["price"]), "contains itself without end at #"),
        ({"type": "array", "minItems": 1, "items": {"$ref": "#"}}, "contains itself without end at #"),
        (of({"type": "string", "enum": [True, False]}), "got True \\(bool\\) among those of #/properties/price; quote it"),
        (of({"type": "string", "const": 12}), "got 12 \\(int\\)"),
        (of({"enum": [date(2024, 1, 1)]}), "a date at #/properties/price/enum/0.*quote it"),
        (of({"minimum": float("nan")}), "got nan at #/properties/price/minimum"),
        ({"properties": {True: {}}}, "got True at #/properties.*quote it"),
    ],
)
def test_a_schema_that_no_answer_could_be_checked_with_is_refused(schema: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        require_schema(schema)


@pytest.mark.parametrize(
    "schema",
    [
        of({"$ref": "#"}),
        of({"anyOf": [{"$ref": "#"}, {"type": "null"}]}, required=["price"]),
        {"type": "array", "items": {"$ref": "#"}},
        {"$defs": {"a": {"$anchor": "a", "type": "string"}}, "$ref": "#a"},
        {"$defs": {"a": {"$id": "urn:a", "properties": {"x": {"$ref": "#/$defs/y"}}, "$defs": {"y": {}}}}, "$ref": "urn:a"},
        {"properties": {"$ref": {"type": "string"}, "enum": {"enum": [{"$ref": "no reference"}]}}},
        of({"type": ["string", "null"], "enum": ["yes", None]}),
    ],
)
def test_what_is_recursive_and_ends_or_only_looks_like_a_reference_is_accepted(schema: dict[str, Any]) -> None:
    assert require_schema(schema) == schema
    validator_of(schema).is_valid({"price": {"price": None}})


def test_a_schema_is_read_in_the_dialect_that_it_names() -> None:
    pair = {"type": "array", "items": [{"type": "string"}, {"type": "integer"}]}
    with pytest.raises(ValueError, match="#/items"):
        require_schema(pair)
    validator = validator_of(require_schema({"$schema": DRAFT_7, **pair}))
    assert validator.is_valid(["a", 1]) and not validator.is_valid([1, "a"])


def test_a_schema_deeper_than_python_can_follow_is_refused() -> None:
    deep: dict[str, Any] = {}
    for _ in range(5000):
        deep = {"not": deep}
    with pytest.raises(ValueError, match="some hundred levels"):
        require_schema(deep)


SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "#", "#/$defs/a", "object", "string", "("])
KEYWORDS = st.sampled_from(
    ["type", "$ref", "$defs", "properties", "a", "items", "anyOf", "not", "required", "pattern", "enum", "$id", "minItems"]
)
DOCUMENTS = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYWORDS, inner, max_size=4))


@given(st.dictionaries(KEYWORDS, DOCUMENTS, max_size=4), DOCUMENTS)
def test_any_mapping_is_refused_with_a_reason_or_validates_any_value(schema: dict[str, Any], value: Any) -> None:
    try:
        require_schema(schema)
    except ValueError as error:
        assert "wanted " in str(error) and ", got " in str(error)
    else:
        validator_of(schema).is_valid(value)


def test_a_schema_that_becomes_a_part_of_another_keeps_its_references() -> None:
    own = of({"$ref": "#/$defs/money"}, **{"$defs": {"money": {"type": "number"}}, "$schema": DRAFT_7})
    schema = Label.model_validate({"schema": own, "rationale": True}).answer_schema
    assert require_schema(schema)["$schema"] == DRAFT_7
    assert validator_of(schema).is_valid({"rationale": "r", "answer": {"price": 2}})
    assert not validator_of(schema).is_valid({"rationale": "r", "answer": {"price": "2"}})
    assert embedded({"$ref": "#"}, "#/x") == {"$ref": "#/x"}
    assert Draft202012Validator(embedded({"$ref": "#a"}, "#/x")).schema == {"$ref": "#a"}


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"name": "build", "schema": {"type": "objct"}}, "recipe.schema: wanted a type of JSON Schema"),
        ({"name": "distill", "schema": of({"$ref": "#/$defs/x"})}, "recipe.schema: .* leads nowhere"),
        ({"name": "label", "schema": {"type": "strng"}}, "recipe.schema: "),
        ({"name": "stand_in", "schema": {"pattern": "("}}, "recipe.schema: "),
        ({"name": "converse", "tools": [{"name": "a", "parameters": {"$ref": "b.json"}}]}, "recipe.tools.0.parameters: "),
        ({"name": "converse", "tools": [{"name": "a", "parameters": {}, "returns": {"type": 1}}]}, "recipe.tools.0.returns: "),
        ({"name": "label", "labels": [True, False]}, "recipe.labels: wanted text, got True, which YAML makes of yes"),
        ({"name": "label", "labels": {True: "it is", "no": "it is not"}}, "recipe.labels: wanted text, got True"),
        ({"name": "label", "labels": ["Refund", "refund"]}, "recipe.labels: .* differ in case or space alone"),
        ({"name": "distill", "choices": ["yes", False]}, "recipe.choices.1: wanted text, got False"),
        ({"name": "distill", "choices": ["a", "a "]}, "recipe.choices: .* differ in case or space alone"),
        ({"name": "distill", "final": "(a"}, "recipe.final: .* '\\(a', which does not compile: .* at position 0"),
        ({"name": "vary", "attributes": {"tone": [True]}}, "recipe.attributes.tone.0: wanted text, got True"),
    ],
)
def test_every_recipe_checks_its_schemas_patterns_and_labels(recipe: dict[str, Any], message: str) -> None:
    with pytest.raises(JobError, match=message):
        options_of(RecipeChoice.model_validate(recipe))


def test_a_recipe_of_ones_own_whose_schema_is_wrong_is_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("own.recipe")
    vars(module)["RECIPE"] = replace(find("build"), name="own", schema=lambda _: {"$ref": "#/gone"})
    monkeypatch.setitem(sys.modules, "own", ModuleType("own"))
    monkeypatch.setitem(sys.modules, "own.recipe", module)
    with pytest.raises(JobError, match=r"the schema of 'own'.* leads nowhere"):
        options_of(RecipeChoice(name="own.recipe"))
