"""Finds a recipe by the name in the job: a built-in one, or a user's own module."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from difflib import get_close_matches

from pydantic import ValidationError

from synth_ray.errors import JobError
from synth_ray.job.document import Job
from synth_ray.job.models import Models
from synth_ray.job.problems import Where, bad_job, problems_of
from synth_ray.job.recipe import RecipeChoice
from synth_ray.job.section import Section
from synth_ray.recipes.contract import Recipe
from synth_ray.recipes.json_schema import require_schema
from synth_ray.recipes.with_embedding import with_embedding
from synth_ray.recipes.with_judge import with_judge

BUILT_IN = (
    "distill",
    "vary",
    "fill",
    "label",
    "evolve",
    "rewrite",
    "prefer",
    "converse",
    "edge_cases",
    "stand_in",
    "spring",
    "build",
    "score",
    "passes",
)


def find(name: str) -> Recipe:
    """The recipe of this name. Raises JobError, with the nearest built-in name, if there is none."""
    if name in BUILT_IN:
        recipe: Recipe = importlib.import_module(f"synth_ray.recipes.{name}").RECIPE
        return recipe
    if "." not in name:
        near = get_close_matches(name, BUILT_IN, 1)
        hint = f"did you mean '{near[0]}'?" if near else "for your own recipe give its module, as `my_package.my_recipe`"
        raise JobError(f"recipe.name: wanted one of {', '.join(BUILT_IN)}, or a module of your own, got '{name}'; {hint}")
    return _user_module(name)


def recipe_of(job: Job) -> Recipe:
    """The recipe that a job runs, wrapped in the judge and in the embedder if the job has them. Raises JobError for a judge that
    cannot do what the recipe asks.
    """
    recipe = find(job.recipe.name)
    _refuse_unfit_judge(recipe, options_of(job.recipe), job.models)
    if job.check.judge is not None:
        recipe = with_judge(recipe, job.check.judge, job.models.judge.task if job.models.judge is not None else "generate")
    semantic = job.dedup.semantic
    return with_embedding(recipe, semantic.role, job.dedup) if semantic is not None and semantic.role else recipe


def _user_module(name: str) -> Recipe:
    try:
        recipe = getattr(importlib.import_module(name), "RECIPE", None)
    except ImportError as error:
        raise JobError(f"recipe.name: wanted an importable module, got '{name}' ({error}); is it on PYTHONPATH?") from None
    if not isinstance(recipe, Recipe):
        raise JobError(f"recipe.name: wanted `RECIPE = Recipe(…)` in module '{name}', got {type(recipe).__name__}; add it")
    return recipe


def refuse_missing_roles(recipe: Recipe, options: Section, models: Models) -> None:
    """Raise JobError if the job has no model for a role that the recipe asks, since every row would fail."""
    filled = [role for role, model in models.by_role().items() if model.engine != "none"]
    for role in recipe.roles(options):
        if role not in filled:
            raise JobError(f"models.{role}: wanted the {role} that recipe '{recipe.name}' asks, got none; name a model there")


def _refuse_unfit_judge(recipe: Recipe, options: Section, models: Models) -> None:
    """Raise JobError where the recipe wants words of a judge that gives numbers, or numbers of one that writes."""
    task = models.judge.task if models.judge is not None else None
    if task is None or "judge" not in recipe.roles(options) or recipe.rates(options) == (task != "generate"):
        return
    if task == "generate":
        raise JobError(
            f"models.judge.task: wanted a judge that gives numbers, for recipe '{recipe.name}' as it is set, got task generate; "
            "say task: reward, classify or embed"
        )
    raise JobError(
        f"models.judge.task: wanted a judge that writes, for recipe '{recipe.name}' as it is set, got task {task}; "
        "`pick: reward` (distill) and `margin` (prefer) use such a judge"
    )


def options_of(choice: RecipeChoice, *, file: str = "job", lines: Mapping[Where, int] | None = None) -> Section:
    """The job's options, validated by the recipe's section. Raises BadJob."""
    recipe = find(choice.name)
    section = recipe.options
    try:
        options = section.model_validate(choice.options)
    except ValidationError as error:
        raise bad_job(problems_of(error, section, file=file, lines=lines or {}, prefix=("recipe",))) from None
    if choice.name not in BUILT_IN:  # whose options are declared as JsonSchema
        _refuse_wrong_schema(recipe, options)
    return options


def _refuse_wrong_schema(recipe: Recipe, options: Section) -> None:
    schema = recipe.schema(options)
    try:
        require_schema(dict(schema)) if schema is not None else None
    except ValueError as error:
        raise JobError(f"recipe.name: the schema of '{recipe.name}': {error}") from None
