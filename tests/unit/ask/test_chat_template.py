"""What is found out about a chat template before anything is asked: by the tokenizer's files, and by the opened engine."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from synth_ray.ask.teacher import PLAIN_USE, TemplateUse
from synth_ray.ask.vllm.chat_template import inspect_template, local_renderer, renderer_of
from synth_ray.ask.vllm.host import ProcessHost
from synth_ray.ask.vllm.teacher import VllmTeacher
from synth_ray.errors import AskFailed, JobError, MissingResource
from synth_ray.job.load import job_from
from synth_ray.job.models import Model
from synth_ray.route.preflight import preflight
from tests.conftest import ENGINE_ARGS, TINY_TEACHER
from tests.unit.ask.test_teachers import ask, prompt

TURNS = "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}{% endfor %}"
NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + TURNS
DROPS_SYSTEM = TURNS.replace("%}<|", "%}{% if m['role'] == 'system' %}{% continue %}{% endif %}<|")
THINKS = TURNS + "{% if enable_thinking is defined and enable_thinking is false %}<think></think>{% endif %}"
THINKS_IF_TOLD = TURNS + "{% if thinking %}<think>{% endif %}"
WITH_TOKENS = "{{ bos_token }}" + TURNS + "{{ strftime_now('%Y')[:0] }}{{ messages | tojson }}"
OPENS = TURNS + "{% if add_generation_prompt %}<|assistant|><think>\n{% endif %}"
SYSTEM = TemplateUse(system=True)


def model_with(folder: Path, template: str | None, *, place: str = "chat_template.jinja", **keys: Any) -> Model:
    """The tiny teacher with another chat template, None for none."""
    shutil.copytree(TINY_TEACHER, folder / "model")
    (folder / "model" / "chat_template.jinja").unlink()
    if template is not None and place == "chat_template.jinja":
        (folder / "model" / place).write_text(template)
    elif template is not None:
        file = folder / "model" / place
        config = json.loads(file.read_text()) if file.exists() else {}
        file.write_text(json.dumps(config | {"chat_template": template}))
    return Model(model=str(folder / "model"), engine_args=ENGINE_ARGS, **keys)


def renderers(model: Model) -> list[Any]:
    """The two ways in which a template is read: from its files at `check`, and by the loaded tokenizer when the engine opens."""
    return [local_renderer(model), renderer_of(AutoTokenizer.from_pretrained(model.model))]


@pytest.mark.parametrize("template", [TURNS, NO_SYSTEM, DROPS_SYSTEM, THINKS, THINKS_IF_TOLD, WITH_TOKENS])
def test_a_template_renders_from_its_files_as_the_tokenizer_renders_it(template: str, tmp_path: Path) -> None:
    from_files, loaded = renderers(model_with(tmp_path, template))
    messages = [{"role": "user", "content": "Grüße"}, {"role": "assistant", "content": "<b>"}, {"role": "user", "content": "x"}]
    assert from_files(messages, {}) == loaded(messages, {})


@pytest.mark.parametrize("place", ["chat_template.jinja", "tokenizer_config.json"])
@pytest.mark.parametrize("template", [NO_SYSTEM, DROPS_SYSTEM])
def test_a_template_without_a_system_role_is_named_only_where_the_job_uses_one(template: str, place: str, tmp_path: Path) -> None:
    model = model_with(tmp_path, template, place=place)
    for render in renderers(model):
        assert inspect_template(render, model, where="models.teacher", use=PLAIN_USE) == []
        with pytest.raises(JobError, match=r"^recipe\.system: wanted a chat template with a system role, got one without in '"):
            inspect_template(render, model, where="models.teacher", use=SYSTEM)


def test_a_model_without_a_template_is_named_with_the_key_that_turns_it_off(tmp_path: Path) -> None:
    model = model_with(tmp_path, None)
    for render in renderers(model):
        with pytest.raises(
            MissingResource, match=r"^models\.judge\.chat: wanted a chat template .* set models\.judge\.chat: false"
        ):
            inspect_template(render, model, where="models.judge", use=PLAIN_USE)


@pytest.mark.parametrize(
    ("template", "keys", "use", "told"),
    [
        (THINKS, {}, PLAIN_USE, "models.teacher.reasoning: false keeps it from that"),
        (OPENS, {}, PLAIN_USE, "models.teacher.reasoning: true says that it may"),
        (OPENS, {"reasoning": True}, PLAIN_USE, ""),
        (THINKS, {"reasoning": True}, PLAIN_USE, ""),
        (THINKS, {"reasoning": False}, PLAIN_USE, ""),
        (THINKS, {"chat_template_kwargs": {"enable_thinking": True}}, PLAIN_USE, ""),
        (THINKS, {"chat_template_kwargs": {"enable_thinking": False}}, PLAIN_USE, ""),
        (THINKS, {}, TemplateUse(cuts_thoughts=True), ""),
        (THINKS_IF_TOLD, {}, PLAIN_USE, ""),
        (TURNS, {}, PLAIN_USE, ""),
    ],
)
def test_a_template_that_thinks_unless_told_otherwise_is_told(
    template: str, keys: dict[str, Any], use: TemplateUse, told: str, tmp_path: Path
) -> None:
    model = model_with(tmp_path, template, **keys)
    for render in renderers(model):
        notices = inspect_template(render, model, where="models.teacher", use=use)
        assert bool(notices) == bool(told)
        assert all(told in notice and notice.startswith("models.teacher: ") for notice in notices)


@pytest.mark.parametrize("template", ["{% generation %}x{% endgeneration %}", "{{ nothing.at.all }}", "{% broken"])
def test_a_template_that_its_files_do_not_explain_is_left_to_the_engine(template: str, tmp_path: Path) -> None:
    assert local_renderer(model_with(tmp_path, template)) is None


def job(folder: Path, model: Model, **recipe: Any) -> dict[str, Any]:
    (folder / "seeds.jsonl").write_text('{"prompt": "tell of a town"}\n')
    return {
        "name": "templates",
        "seeds": str(folder / "seeds.jsonl"),
        "recipe": {"name": "distill", **recipe},
        "models": {"teacher": {"model": model.model, "chat": model.chat}},
        "split": {"fractions": {"train": 1.0}},
        "output": str(folder / "out"),
    }


def test_check_names_what_a_local_template_cannot_do_and_tells_that_it_thinks(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = model_with(tmp_path, NO_SYSTEM)
    with pytest.raises(JobError, match=r"recipe\.system: wanted a chat template with a system role"):
        preflight(job_from(job(tmp_path, model, system="Be brief.")))
    preflight(job_from(job(tmp_path, model)))
    (Path(model.model) / "chat_template.jinja").write_text(THINKS)
    caplog.set_level(logging.WARNING)
    preflight(job_from(job(tmp_path, model)))
    assert "models.teacher: '" in caplog.text
    (Path(model.model) / "chat_template.jinja").unlink()
    with pytest.raises(JobError, match=r"models\.teacher\.chat: wanted a chat template"):
        preflight(job_from(job(tmp_path, model)))
    preflight(job_from(job(tmp_path, model.model_copy(update={"chat": False}), system="Be brief.")))


def test_a_folder_whose_template_cannot_serve_the_job_starts_no_engine(tmp_path: Path) -> None:
    teacher = VllmTeacher(model_with(tmp_path, None), role="judge", host=ProcessHost())
    with pytest.raises(MissingResource, match=r"models\.judge\.chat"):
        teacher.open()
    assert teacher._host._process is None  # type: ignore[attr-defined]


@pytest.mark.vllm
def test_an_engine_opens_with_a_template_that_serves_the_job_and_a_row_that_it_refuses_fails_alone(tmp_path: Path) -> None:
    model = model_with(tmp_path, NO_SYSTEM + "{% generation %}{% endgeneration %}")
    assert local_renderer(model) is None
    teacher = VllmTeacher(model, use=SYSTEM)
    with pytest.raises(JobError, match=r"recipe\.system"):
        teacher.open()
    assert teacher._host._process.poll() is not None  # type: ignore[attr-defined]
    teacher = VllmTeacher(model)
    assert list(teacher.open().notes) == []
    before = prompt()
    with pytest.raises(AskFailed, match="the chat template refuses messages of system, user"):
        ask(teacher, type(before)([{"role": "system", "content": "Be brief."}, *before.messages], before.key))
    assert len(ask(teacher, before)) == 1
    teacher.close()
