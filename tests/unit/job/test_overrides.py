"""Overrides: what is written short and set from outside is the job that is written long."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from synth_ray.errors import JobError
from synth_ray.job.load import job_from, load_job
from synth_ray.job.overrides import with_overrides

ENDPOINT = {"model": "m", "engine": "endpoint", "endpoint": {"urls": ["http://a/v1"]}}
BASE = {
    "name": "n",
    "seeds": ["s.jsonl"],
    "recipe": {"name": "distill"},
    "models": {"teacher": {"model": "tiny"}},
    "split": {"real": [{"path": "real.jsonl"}]},
    "mix": {"real": [{"path": "mix.jsonl"}]},
    "output": {"path": "out"},
}
SHORT: dict[str, list[Any]] = {
    "seeds": ["s.jsonl", {"path": "s.jsonl"}, ["s.jsonl"], [{"path": "s.jsonl"}]],
    "recipe": ["distill", {"name": "distill"}, {"name": "distill", "options": {}}],
    "models": [{"teacher": "tiny"}, {"teacher": {"model": "tiny"}}, {"teacher": ["tiny"]}],
    "split": [{"real": "real.jsonl"}, {"real": ["real.jsonl"]}, {"real": {"path": "real.jsonl"}}],
    "mix": [{"real": "mix.jsonl"}, {"real": [{"path": "mix.jsonl"}]}],
    "output": ["out", {"path": "out"}],
}
SET: dict[str, tuple[tuple[Any, ...], list[Any]]] = {
    "seeds.limit": (("seeds", 0, "limit"), [1, 10]),
    "seeds.0.license": (("seeds", 0, "license"), ["mit"]),
    "seeds.fields.prompt": (("seeds", 0, "fields", "prompt"), ["question"]),
    "recipe.n": (("recipe", "n"), [2, 3]),
    "recipe.options.best_of": (("recipe", "best_of"), [2]),
    "recipe.keep": (("recipe", "keep"), [["a"]]),
    "models.teacher.weight": (("models", "teacher", "weight"), [2.0]),
    "models.teachers.0.terms": (("models", "teacher", "terms"), ["t"]),
    "models.teacher.engine_args.dtype": (("models", "teacher", "engine_args", "dtype"), ["float16"]),
    "split.real.limit": (("split", "real", 0, "limit"), [3]),
    "mix.real.0.limit": (("mix", "real", 0, "limit"), [3]),
    "output.part_rows": (("output", "part_rows"), [7]),
    "output.partition_by": (("output", "partition_by"), [{"kind": ["a", "b"]}]),
    "output.path": (("output", "path"), ["elsewhere"]),
    "dedup.threshold": (("dedup", "threshold"), [0.5]),
    "sampling.stop": (("sampling", "stop"), [["x"]]),
}


def put(document: Any, path: tuple[Any, ...], value: Any) -> None:
    for step in path[:-1]:
        document = document[step] if isinstance(step, int) else document.setdefault(step, {})
    document[path[-1]] = value


@given(
    shorts=st.fixed_dictionaries({section: st.sampled_from(forms) for section, forms in SHORT.items()}),
    values=st.fixed_dictionaries({}, optional={key: st.sampled_from(values) for key, (_, values) in SET.items()}),
)
def test_a_short_form_with_overrides_is_the_long_form(shorts: dict[str, Any], values: dict[str, Any]) -> None:
    long: dict[str, Any] = deepcopy(BASE) | {"seeds": [{"path": "s.jsonl"}]}
    for key, value in values.items():
        put(long, SET[key][0], value)
    given_document = deepcopy(BASE | shorts)
    assert job_from(with_overrides(given_document, values)) == job_from(long)
    assert given_document == BASE | shorts  # the caller's document is not changed


def test_a_role_without_a_model_and_a_list_of_teachers_take_overrides() -> None:
    none = job_from(with_overrides(BASE | {"models": "none"}, {"models.teacher.engine": "scripted"}))
    assert none.models.teacher.engine == "scripted"
    several = BASE | {"models": {"teacher": ["a", {"model": "b"}]}}
    changed = job_from(with_overrides(several, {"models.teacher.1.weight": 3, "models.teachers.2.model": "c"})).models
    assert [(model.model, model.weight) for model in changed.teachers] == [("a", 1.0), ("b", 3.0), ("c", 1.0)]
    served = BASE | {"models": {"teacher": ENDPOINT | {"endpoint": {"urls": "http://a/v1"}}}}
    urls = job_from(with_overrides(served, {"models.teacher.endpoint.urls.1": "http://b/v1"})).models.teacher.endpoint
    assert urls is not None and urls.urls == ["http://a/v1", "http://b/v1"]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("seeds.limit", 1, "wanted the number of an item of seeds, which has 2, got 'limit'; say seeds.0"),
        ("seeds.4.limit", 1, "wanted an item of seeds, which has 2, got 4; the next one is seeds.2"),
        ("name.first", 1, "wanted keys or items in name for 'first', got str; set name whole"),
        ("outptu.path", "x", "--set: outptu: wanted a known key .* did you mean 'output'\\?"),
        ("output.paht", "x", "--set: output.paht: .* did you mean 'path'\\?"),
        ("dedup.threshold", 7, "--set: dedup.threshold: wanted"),
        ("check.labels", [True], "--set: check.labels.0: wanted text, got True"),
    ],
)
def test_an_override_that_leads_nowhere_is_named(tmp_path: Path, key: str, value: Any, message: str) -> None:
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(BASE | {"seeds": ["a", "b"]}))
    with pytest.raises(JobError, match=message):
        load_job(tmp_path / "job.yaml", overrides={key: value})
