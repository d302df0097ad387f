"""For the manifest: what was asked and by which filters answers went. Nothing in it is a secret or a place on one machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from pydantic import BaseModel

from synth_ray.job.check import Check
from synth_ray.job.dedup import Decontaminate, Dedup
from synth_ray.job.document import Job
from synth_ray.job.models import Model
from synth_ray.job.scrub import Scrub
from synth_ray.prepare.preparation import Prepared
from synth_ray.publish.manifest_facts import scrubbed_or_nothing
from synth_ray.recipes.judge import RUBRIC
from synth_ray.scrub.scrubber import Scrubber

_SAMPLING_SHOWN = ("temperature", "top_p", "max_tokens")
"""Shown even where they have their defaults: what a reader asks first."""

_LIMITS_OF_FLAGS = {"repetition_loop": "max_repetition", "echo": "echo", "too_few_tokens": "min_tokens"}
_SETTINGS_OF_SCRUB = {"engine", "entities", "model", "allow", "deny", "recognizers", "secrets", "policy", "seeds"}
_OF_THE_MACHINE = {"key_env", "device", "batch_texts", "record_timeout_s"}


def asked_facts(prepared: Prepared, scrubber: Scrubber) -> dict[str, Any]:
    """The manifest's `templates` (scrubbed as rows are), `sampling` and `filters`."""
    filters = _filters(prepared)
    if prepared.job.models.teacher.engine == "none":
        return {"filters": filters}
    templates = scrubbed_or_nothing(scrubber, _templates(prepared), what="templates")
    return {"templates": templates, "sampling": _sampling(prepared.job), "filters": filters}


def _templates(prepared: Prepared) -> dict[str, str]:
    """The recipe's templates by option, with its system message and the judge's prompt."""
    system = getattr(prepared.options, "system", "")
    texts = {"system": system} if isinstance(system, str) and system else {}
    texts |= {option: text for option, text in prepared.recipe.templates(prepared.options).items() if text}
    judge, model = prepared.job.check.judge, prepared.job.models.judge
    reads_rubric = judge is not None and model is not None and model.task == "generate"
    return texts | ({"check.judge.template": judge.template or RUBRIC} if judge is not None and reads_rubric else {})


def _sampling(job: Job) -> dict[str, Any]:
    facts = {name: getattr(job.sampling, name) for name in _SAMPLING_SHOWN} | _changed(job.sampling)
    for role, model in job.models.by_role().items():
        if model.chat_template_kwargs:
            facts[f"chat_template_kwargs of the {role}"] = model.chat_template_kwargs
        if model.reasoning is not None:
            facts[f"reasoning of the {role}"] = _changed(model.reasoning)
    return facts


def _filters(prepared: Prepared) -> dict[str, dict[str, Any]]:
    job = prepared.job
    stages = {
        "check": _check(job.check, job.models.judge),
        "scrub": _scrub(job.scrub),
        "dedup": _dedup(job.dedup, prepared.recipe.compares(prepared.options)),
        "decontaminate": _decontaminate(job.decontaminate),
    }
    return {stage: settings for stage, settings in stages.items() if settings}


def _check(check: Check, judge: Model | None) -> dict[str, Any]:
    facts = _changed(check) | {"drop": list(check.drop)}
    facts |= {name: getattr(check, name) for flag, name in _LIMITS_OF_FLAGS.items() if flag in check.drop}
    if check.tokenizer:
        facts["tokenizer"] = _last_name(check.tokenizer)
    if check.judge is not None:
        rubric = {"criteria": check.judge.criteria}
        rates = {"task": judge.task, "label": check.judge.label} if judge is not None and judge.task != "generate" else {}
        facts["judge"] = {name: value for name, value in (rates or rubric).items() if value} | {
            "min_score": check.judge.min_score
        }
    return facts


def _scrub(scrub: Scrub) -> dict[str, Any]:
    """Values that the job allows, denies or recognises are personal data themselves: only their number is told."""
    facts: dict[str, Any] = {"engine": scrub.engine, "entities": list(scrub.entities_to_find()), "replace": scrub.replace}
    facts |= {"threshold": scrub.threshold, "secrets": scrub.secrets.find}
    facts |= {"model": _last_name(scrub.model)} if scrub.model else {}
    facts |= {"policy": switched} if (switched := _changed(scrub.policy)) else {}
    facts |= {"allowed_values": len(scrub.allow)} if scrub.allow else {}
    facts |= {"denied_values": {entity: len(values) for entity, values in scrub.deny.items()}} if scrub.deny else {}
    facts |= {"own_recognizers": [own.entity for own in scrub.recognizers]} if scrub.recognizers else {}
    return facts | {n: v for n, v in _changed(scrub).items() if n not in _SETTINGS_OF_SCRUB | _OF_THE_MACHINE}


def _dedup(dedup: Dedup, compares: tuple[str, ...]) -> dict[str, Any]:
    facts: dict[str, Any] = {"exact": True, "near": dedup.near, "compares": list(dedup.compares or compares)}
    if dedup.near:
        facts |= {"threshold": dedup.threshold, "ngram": dedup.ngram, "permutations": dedup.permutations}
        facts |= {"bands": dedup.bands, "rows_per_band": dedup.rows_per_band}
    if dedup.semantic is not None:
        model = _last_name(dedup.semantic.model) if dedup.semantic.model else f"models.{dedup.semantic.role}"
        facts["semantic"] = {"model": model, "threshold": dedup.semantic.threshold}
    return facts | ({"earlier_datasets": len(dedup.against)} if dedup.against else {})


def _decontaminate(section: Decontaminate) -> dict[str, Any]:
    if not section.against:
        return {}
    limits = {name: getattr(section, name) for name in ("ngram", "coverage_ngram", "coverage")}
    return {"sets": [source.name for source in section.against], **limits}


def _changed(section: BaseModel) -> dict[str, Any]:
    """The keys that differ from their defaults, without sections."""
    fields: Mapping[str, Any] = type(section).model_fields
    values = {name: getattr(section, name) for name in fields}
    return {
        name: value
        for name, value in section.model_dump(mode="json").items()
        if not isinstance(values[name], BaseModel) and values[name] != fields[name].get_default(call_default_factory=True)
    }


def _last_name(path: str) -> str:
    """A model's name on the Hub as it is; of a folder of this machine only its name."""
    return PurePath(path).name if PurePath(path).is_absolute() or path.startswith("~") else path
