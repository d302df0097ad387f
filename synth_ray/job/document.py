"""The whole job, and which digest each key belongs to."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, field_validator, model_validator

from synth_ray.job.check import DROPPED_BEFORE_THOUGHTS, Check
from synth_ray.job.dedup import Decontaminate, Dedup
from synth_ray.job.gates import GateText
from synth_ray.job.mix import Mix
from synth_ray.job.models import Model, Models, engines_of
from synth_ray.job.output import Output
from synth_ray.job.quality import Quality
from synth_ray.job.recipe import RecipeChoice
from synth_ray.job.review import Review
from synth_ray.job.roles import unfit_roles
from synth_ray.job.running import Budget, Cluster, Limits, Plan
from synth_ray.job.sampling import Sampling
from synth_ray.job.scrub import Scrub
from synth_ray.job.section import Changes, OneOrMore, Section, key
from synth_ray.job.seeds import Source
from synth_ray.job.sinks import Sink
from synth_ray.job.split import Split
from synth_ray.job.target import Target
from synth_ray.records import digest

_UNSEEN_BY_MODELS = ("split.real.", "mix.real.", "decontaminate.against.", "target.balance.like.")
"""Sources whose rows no model sees. If they move a seed to another split, the digest of the seeds changes."""


class Job(Section):
    """One job: from seeds and a teacher to a dataset."""

    name: str = key(..., "A name for people; it appears on the card.", min_length=1, max_length=100, changes="nothing")
    description: str = key("", "A sentence or more for the card.", changes="nothing")
    seeds: Annotated[list[Source], OneOrMore] = key(
        ..., "Where seeds come from: one source or a list; `none` for a recipe that needs no seeds."
    )
    recipe: RecipeChoice = key(..., "How a seed becomes rows.")
    models: Models = key(..., "The models, by role.")
    sampling: Sampling = key(Sampling, "How tokens are sampled.")
    plan: Plan = key(Plan, "How many requests, in which chunks.")
    check: Check = key(Check, "Checks of the answers.", changes="stage")
    scrub: Scrub = key(Scrub, "Personal data and secrets: what is found and what replaces it.", changes="stage")
    dedup: Dedup = key(Dedup, "Exact and near-duplicates.", changes="stage")
    decontaminate: Decontaminate = key(Decontaminate, "Evaluation sets that no row may quote.", changes="admit")
    split: Split = key(Split, "Train, validation and test.")
    mix: Mix | None = key(None, "Real rows to publish beside the synthetic ones.", changes="admit")
    target: Target = key(Target, "How many accepted rows, and their balance.", changes="admit")
    output: Output = key(..., "Where the dataset goes, and its files.", changes="nothing")
    sinks: list[Sink] = key(
        list, "Tables of Iceberg, Delta Lake or Lance that each complete version is registered in.", changes="nothing"
    )
    gates: list[GateText] = key(
        list,
        "Conditions on the numbers of the manifest, as `accepted_share >= 0.6` or `rows.rejected.refusal < 100`: a dataset that "
        "fails one is published, and the command exits with 3. `accepted >= 1` holds unless a gate names `accepted`.",
        changes="nothing",
    )
    quality: Quality = key(Quality, "Measures of the dataset against real rows.", changes="nothing")
    review: Review = key(Review, "Verdicts of people on rows.", changes="admit")
    limits: Limits = key(Limits, "When to give up.", changes="nothing")
    budget: Budget = key(Budget, "What the run may cost.", changes="nothing")
    cluster: Cluster = key(Cluster, "Where the work runs.", changes="nothing")

    @field_validator("seeds", mode="before")
    @classmethod
    def _no_seeds(cls, value: Any) -> Any:
        if value == []:
            raise ValueError("wanted at least one source, got an empty list; name one, or say `seeds: none`")
        return [] if value == "none" else value

    @field_validator("sinks")
    @classmethod
    def _sinks_differ(cls, value: list[Sink]) -> list[Sink]:
        labels = [sink.label() for sink in value]
        if twice := next((label for label in labels if labels.count(label) > 1), None):
            raise ValueError(f"wanted each table once, got {twice} twice; leave one out")
        return value

    @model_validator(mode="after")
    def _gpus_fit_the_engines(self) -> Job:
        gpus = self.cluster.gpus_per_teacher
        spans = [model.devices for model in engines_of(self.replica_models) if model.engine == "vllm"]
        if gpus is None or not spans or gpus in (0, max(spans), sum(spans)) or gpus < max(spans) == 1:
            return self
        together = f"{max(spans)}, tensor_parallel_size × pipeline_parallel_size × data_parallel_size of the model"
        raise ValueError(
            f"cluster.gpus_per_teacher: wanted {together}"
            + (f", which its engines share, or {sum(spans)}, each engine its own" if len(spans) > 1 else "")
            + f", got {gpus:g}"
        )

    @model_validator(mode="after")
    def _roles_fit_their_tasks(self) -> Job:
        for problem in unfit_roles(self.models, self.check, self.dedup):
            raise ValueError(problem)
        if self.recipe.reasoning != "only":
            return self
        if self.check.judge is not None:
            raise ValueError(
                "check.judge: wanted rows that keep their answers, got recipe.reasoning: only; a judge scores answers: leave "
                "check.judge out"
            )
        if self.dedup.semantic is not None and self.dedup.semantic.role:
            raise ValueError(
                "dedup.semantic.role: wanted rows that keep their answers, got recipe.reasoning: only; a role embeds answers as "
                "they come: name a model under dedup.semantic.model"
            )
        return self

    @model_validator(mode="after")
    def _index_is_in_one_place(self) -> Job:
        if self.dedup.spill_bytes and self.cluster.index_shards:
            raise ValueError(
                f"dedup.spill_bytes: wanted the index on the driver's disk or in actors, got both, with cluster.index_shards: "
                f"{self.cluster.index_shards}; leave one of them out"
            )
        return self

    @model_validator(mode="after")
    def _parts_can_be_divided(self) -> Job:
        parts, cluster = self.plan.parts, self.cluster
        if parts == 1:
            return self
        if self.target.is_set:
            raise ValueError(
                f"plan.parts: wanted a plan of fixed length, got a target with {parts} parts: what is asked for a target "
                "depends on what was admitted; say plan.requests instead, or leave plan.parts out"
            )
        fewest = min(cluster.first_teachers, cluster.judges if self.pooled_models else cluster.first_teachers)
        if fewest < parts:
            raise ValueError(
                f"plan.parts: wanted at least one replica of each pool for each of {parts} parts, got {fewest}; raise "
                "cluster.teachers, and cluster.judges where the judge has a pool of its own, or lower plan.parts"
            )
        return self

    @model_validator(mode="after")
    def _separate_pools_have_engines(self) -> Job:
        if self.cluster.pools == "shared":
            return self
        if not self.pooled_models:
            raise ValueError(
                "cluster.pools: wanted a judge with an engine of its own for a separate pool, got "
                + ("the teacher's engine as judge" if self.models.judge else "no models.judge")
                + "; leave `pools` out"
            )
        [judge], gpus = self.pooled_models.values(), self.cluster.gpus_per_judge
        if gpus is not None and judge.devices and gpus not in (0, judge.devices) and not gpus < judge.devices == 1:
            raise ValueError(f"cluster.gpus_per_judge: wanted {judge.devices}, as the judge's engine_args say, got {gpus:g}")
        if judge.spans_nodes:
            raise ValueError(
                "cluster.pools: wanted a judge on one node for a pool of its own, got one over several; leave `pools` out"
            )
        return self

    @property
    def pooled_models(self) -> dict[str, Model]:
        """The roles whose engine is a pool of its own: the judge, where the job says so and it shares no teacher's engine."""
        judge, shared = self.models.judge, {teacher.engine_key for teacher in self.models.teachers}
        apart = self.cluster.pools == "separate" and judge is not None and judge.engine_key not in shared
        return {"judge": judge} if apart and judge is not None else {}

    @property
    def replica_models(self) -> dict[str, Model]:
        """The models whose engines a teacher replica starts, by role."""
        pooled = self.pooled_models
        return {role: model for role, model in self.models.by_role().items() if role not in pooled}

    @property
    def keeps_reasoning(self) -> bool:
        """Whether rows have what the model thought, in columns of their own: known before anything is asked."""
        if self.recipe.reasoning is not None:
            return self.recipe.reasoning == "keep"
        return self.recipe.marks is not None or any(teacher.may_think for teacher in self.models.teachers)

    @property
    def longest_answer(self) -> int:
        """Most tokens of one answer, its thought included where that has a budget of its own."""
        budgets = (model.reasoning.budget for model in self.models.by_role().values() if model.reasoning is not None)
        return self.sampling.max_tokens + max((budget or 0 for budget in budgets), default=0)

    @property
    def scrubs_seeds(self) -> bool:
        """Whether seeds are scrubbed before a model sees them."""
        choice = self.scrub.seeds
        return any(model.sends_prompts_out for model in self.models.by_role().values()) if choice == "auto" else choice is True

    def keys_by_cost(self, cost: Changes) -> dict[str, Any]:
        """The keys, by dotted name, whose change has the cost `change`. Of each model, only its `identity` counts for `ask`."""
        keys = _keys(self, cost, "")
        _write_defaults_as_before(keys)
        if cost == "admit":
            return keys | {k: v for k, v in _keys(self, "ask", "").items() if k.startswith(_UNSEEN_BY_MODELS)}
        if cost != "ask":
            return keys
        keys = {k: v for k, v in keys.items() if not k.startswith(("models.", "seeds.", *_UNSEEN_BY_MODELS))}
        keys |= {f"models.{role}": m.identity() for role, m in self.models.by_role().items()}
        if self.dedup.semantic is not None and self.dedup.semantic.role:  # rows are embedded as they are asked
            keys |= {"dedup.semantic.role, dedup.compares": [self.dedup.semantic.role, self.dedup.compares, self.dedup.mask]}
        return keys | ({"models.weights": [m.weight for m in self.models.teachers]} if self.models.others else {})

    def ask_digest(self, seeds_digest: str) -> str:
        """The digest of everything that is asked: seed contents, recipe, models, sampling, plan. Each row records it."""
        return digest("ask", seeds_digest, self.keys_by_cost("ask"))

    def job_digest(self, seeds_digest: str) -> str:
        """The digest of everything that is asked and of how answers are curated."""
        admitted = self.keys_by_cost("admit")
        del admitted["review.verdicts"]  # the verdicts themselves count, wherever they are kept
        curated = [self.keys_by_cost("stage"), admitted]
        return digest("job", self.ask_digest(seeds_digest), curated)


def _write_defaults_as_before(keys: dict[str, Any]) -> None:
    """Leave keys that came later out where they have their defaults: a job that names none has the digests it had."""
    for name in ("recipe.reasoning", "check.thought_language"):
        if keys.get(name, "") is None:
            del keys[name]
    if keys.get("check.judge.label", "") == "":
        keys.pop("check.judge.label", None)
    drop = keys.get("check.drop")
    if drop == Check().drop:
        keys["check.drop"] = DROPPED_BEFORE_THOUGHTS
    elif drop == DROPPED_BEFORE_THOUGHTS:
        keys["check.drop"] = [*drop, "no flag of thoughts"]  # it differs from the default


def _keys(section: BaseModel, cost: Changes, prefix: str) -> dict[str, Any]:
    keys: dict[str, Any] = {}
    for name, info in type(section).model_fields.items():
        value = getattr(section, name)
        extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
        if isinstance(value, BaseModel):
            keys |= _keys(value, cost, f"{prefix}{name}.")
        elif isinstance(value, list) and value and all(isinstance(v, BaseModel) for v in value):
            for index, item in enumerate(value):
                keys |= _keys(item, cost, f"{prefix}{name}.{index}.")
        elif extra.get("changes", "ask") == cost:
            keys[prefix + name] = value
    return keys
