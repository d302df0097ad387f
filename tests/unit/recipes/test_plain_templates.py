"""A template that shows one field, and nothing else, is rendered as Jinja renders it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_ray.errors import AskFailed
from synth_ray.recipes.templates import compile_template, render
from synth_ray.records import Request, Seed

NAMES = st.sampled_from(["prompt", "label", "true", "none", "shots", "range"])


@given(
    NAMES, st.dictionaries(NAMES, st.text() | st.integers() | st.none()), st.sampled_from(["{{%s}}", "{{ %s }}", "{{  %s }}\n"])
)
def test_it_is_what_jinja_makes_of_it(name: str, fields: dict[str, Any], form: str) -> None:
    request = Request("r", 0, 0, Seed("s", "l", "train", fields), 1)
    if form % name == form % "label" and "label" not in fields:
        with pytest.raises(AskFailed):
            render(form % name, request)
    elif name != "prompt" or name in fields:
        assert render(form % name, request) == compile_template(form % name).render({**fields, "shots": []})
