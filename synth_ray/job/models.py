"""The models by role."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import field_validator, model_validator

from synth_ray.job.engine_args import RESULT_ENGINE_ARGS, devices_of, refuse_contradictions
from synth_ray.job.reasoning import SWITCHES, Reasoning, parser_of_name, plain_parser
from synth_ray.job.scoring import Scoring, Task, misfits
from synth_ray.job.script import SPEED_OF_SCRIPT, Script
from synth_ray.job.section import Section, key
from synth_ray.job.served import BatchApi, Endpoint, Prices

FAMILIES = (
    "claude", "command", "deepseek", "falcon", "gemini", "gemma", "glm", "gpt", "granite", "internlm", "kimi", "llama", "minimax",
    "mistral", "mixtral", "nemotron", "olmo", "phi", "qwen", "smollm", "yi-",
)  # fmt: skip
"""Families recognised in a model's name. Mistral's and Google's models have several names: set `family` where this list fails."""


class Model(Section):
    """One model in one role. `models: {teacher: Qwen/Qwen3-8B}` is short for `{teacher: {model: Qwen/Qwen3-8B}}`."""

    engine: Literal["vllm", "endpoint", "batch_api", "scripted", "none"] = key(
        "vllm",
        "What serves the model: vLLM run by the job (vllm), a server elsewhere (endpoint), a provider's batch API (batch_api), a "
        "script for tests (scripted), or nothing, for a recipe that asks no model (none).",
    )
    model: str = key("", "A model name or a local folder, as vLLM takes it.")
    revision: str = key("", "The model's revision (commit, tag or branch); recorded in every row.")
    tokenizer: str = key("", "A tokenizer (name or local folder) to use instead of the model's own.")
    trust_remote_code: bool = key(False, "Run code that comes with the model. Off unless you read that code.")
    chat: bool = key(True, "Render messages with the model's chat template; off sends the text as it is.")
    chat_template_kwargs: dict[str, Any] = key(
        lambda: {},
        "Variables of the model's chat template, as {tools_in_user_message: false}. Servers of hosted models refuse them.",
    )
    reasoning: Reasoning | None = key(
        None, "How the model thinks before it answers; `true` and `false` are short for `{think: …}`. Left out, as it will."
    )
    tool_parser: str = key(
        "",
        "vLLM's parser of the model's tool calls, as llama3_json; left out, it writes `<tool_call>` as Qwen's do.",
    )
    engine_args: dict[str, Any] = key(lambda: {}, "Arguments for vLLM's EngineArgs; unknown ones are refused.", changes="nothing")
    lora: str = key(
        "",
        "Local folder of a LoRA adapter (PEFT) on top of the model, for vLLM. Models that differ only in this share an engine.",
    )
    endpoint: Endpoint | None = key(None, "Where the model is served, for engine 'endpoint'.", changes="nothing")
    batch: BatchApi | None = key(None, "The provider's batch API, for engine 'batch_api'.", changes="nothing")
    script: Script = key(Script, "What the scripted teacher does.")
    task: Task = key(
        "generate",
        "What the model gives: text (generate), a reward model's score (reward), a classifier's probabilities (classify), or a "
        "vector of a text (embed).",
    )
    scoring: Scoring = key(Scoring, "How a model whose task is not to generate reads a text.")
    weight: float = key(1.0, "With several teachers, its share of the requests, relative to the other weights.", gt=0)
    license: str = key("", "The model's licence, for the card: it may restrict the use of its answers.", changes="nothing")
    terms: str = key("", "Terms of use of its answers, as a sentence or an address, for the card.", changes="nothing")
    family: str = key(
        "",
        "The model's family, such as qwen; left out, taken from its name. A judge must be of another family than the teachers.",
        changes="nothing",
    )

    @field_validator("reasoning", mode="before")
    @classmethod
    def _switch(cls, value: Any) -> Any:
        return {"think": value} if isinstance(value, bool) else value

    @model_validator(mode="after")
    def _fits_its_engine(self) -> Model:
        if self.engine in ("vllm", "endpoint", "batch_api") and not self.model:
            raise ValueError(f"wanted a model name or folder for engine '{self.engine}', got none; add `model: …`")
        if self.lora and self.engine != "vllm":
            raise ValueError(
                f"wanted engine 'vllm' for a LoRA adapter, got '{self.engine}'; a server names its adapters as models"
            )
        if self.engine == "vllm":
            refuse_contradictions(self.engine_args, has_adapter=bool(self.lora))
        self._refuse_two_switches()
        unused = [name for name in ("lora", "reasoning") if getattr(self, name)]
        for misfit in misfits(self.task, self.engine, self.scoring, unused):
            raise ValueError(misfit)
        elsewhere = {"endpoint": ("endpoint", self.endpoint, "urls"), "batch_api": ("batch", self.batch, "url")}
        for engine, (name, section, first) in elsewhere.items():
            if (self.engine == engine) != (section is not None):
                raise ValueError(
                    f"wanted `{name}` and engine '{engine}' together, got one without the other; add `{name}: {{{first}: …}}`"
                )
        return self

    def _refuse_two_switches(self) -> None:
        own = [name for name in SWITCHES if name in self.chat_template_kwargs]
        if own and self.reasoning is not None and self.reasoning.think is not None:
            raise ValueError(f"wanted reasoning.think or chat_template_kwargs.{own[0]}, got both; keep reasoning.think")

    @property
    def name(self) -> str:
        """The model's name in rows and on the card."""
        return (self.model or self.engine) + (f" + {self.lora}" if self.lora else "")

    @property
    def may_think(self) -> bool:
        """Whether its answers may come with a thought, as far as the job tells: a server's model may unless told not to."""
        if self.task != "generate":
            return False
        if self.reasoning is not None:
            return self.reasoning.think is not False
        if any(self.chat_template_kwargs.get(name) is False for name in SWITCHES):
            return False
        if self.engine == "vllm":
            return bool(self.reasoning_parser)
        return self.engine in ("endpoint", "batch_api") or self.script.thought > 0

    @property
    def reasoning_parser(self) -> str:
        """The name of the parser of its thoughts, as the job or the model's name tells; empty where neither does."""
        given = (self.reasoning.parser if self.reasoning else "") or str(self.engine_args.get("reasoning_parser") or "")
        return plain_parser(given) or parser_of_name(self.model)

    @property
    def families(self) -> frozenset[str]:
        """The families the model descends from: a distilled model has both. Without `family`, only vLLM's models have any."""
        if self.family or self.engine != "vllm":
            return frozenset({self.family.casefold()} - {""})
        name = self.model.rstrip("/").casefold()
        return frozenset(family for family in FAMILIES if family in name) or frozenset({name})

    @property
    def engine_key(self) -> str:
        """Models with the same key share an engine: they differ at most in adapter, weight, licence, terms and family, and in an
        engine of our own in how they think.
        """
        own = {"reasoning", "chat_template_kwargs"} if self.engine == "vllm" else set()
        key = self.model_dump_json(exclude={"weight", "lora", "license", "terms", "family", *own})
        return key + self.reasoning_parser if own else key

    @property
    def devices(self) -> int:
        """Accelerators that one engine of this model uses: none where the model is served elsewhere."""
        return devices_of(self.engine_args) if self.engine == "vllm" else 0

    @property
    def spans_nodes(self) -> bool:
        """Whether one engine may use several nodes."""
        return devices_of(self.engine_args) > 1 and self.engine_args.get("distributed_executor_backend") == "ray"

    @property
    def sends_prompts_out(self) -> bool:
        """Whether prompts leave the cluster. An engine that is not known to keep them is assumed to send them out."""
        return self.engine not in ("vllm", "scripted", "none")

    @property
    def max_running(self) -> int:
        """Requests that the engine runs at once, as far as the job says; vLLM's own figure replaces it once the engine is up."""
        if self.engine == "scripted":
            return self.script.concurrency
        if self.endpoint is not None:
            return self.endpoint.concurrency * len(self.endpoint.urls)
        if self.batch is not None:
            return self.batch.max_running
        max_num_seqs = self.engine_args.get("max_num_seqs", 256)
        return max_num_seqs if isinstance(max_num_seqs, int) else 256

    @property
    def usd_per_1m(self) -> Prices:
        """US dollars per million tokens, by kind; 0 for models that are not billed by token."""
        place = self.batch or self.endpoint
        return place.usd_per_1m if place is not None else Prices()

    def identity(self) -> dict[str, Any]:
        """Everything about this model that can change an answer: part of the ask digest."""
        named = {k: v for k, v in self.engine_args.items() if k in RESULT_ENGINE_ARGS}
        facts: dict[str, Any] = {"engine": self.engine, "model": self.model, "revision": self.revision}
        facts |= {"tokenizer": self.tokenizer, "chat": self.chat, "engine_args": named}
        facts |= {"lora": self.lora} if self.lora else {}
        facts |= {"tool_parser": self.tool_parser} if self.tool_parser else {}
        facts |= {"reasoning": self.reasoning.model_dump()} if self.reasoning else {}
        facts |= {"chat_template_kwargs": self.chat_template_kwargs} if self.chat_template_kwargs else {}
        facts |= {"task": self.task, "scoring": self.scoring.model_dump()} if self.task != "generate" else {}
        if self.engine == "scripted":
            facts["script"] = self.script.facts(exclude=SPEED_OF_SCRIPT)
        return facts


class Models(Section):
    """The roles of a job and the model in each. `models: none` is for a recipe that asks no model.

    Several teachers share the requests by weight: `teacher: [{model: a, weight: 3}, b]` is short for a teacher and `others`.
    """

    teacher: Model = key(..., "The model that answers.")
    others: list[Model] = key(list, "More teachers. Each request goes to one teacher of all, chosen by the request's digest.")
    judge: Model | None = key(
        None,
        "The model that judges; recipes without a judge leave it out. With `task`, it may be a reward model, a classifier or an "
        "embedding model.",
    )
    embedder: Model | None = key(None, "The embedding model of `dedup.semantic.role`; its task is embed.")

    allow_related_judge: bool = key(
        False, "Allow a judge of the teacher's own family, which tends to favour the teacher's answers.", changes="nothing"
    )

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, value: Any) -> Any:
        if value == "none":
            return {"teacher": {"engine": "none"}}
        if isinstance(value, dict) and isinstance(value.get("teacher"), list) and value["teacher"] and "others" not in value:
            return value | {"teacher": value["teacher"][0], "others": value["teacher"][1:]}
        return value

    @model_validator(mode="after")
    def _refuse_related_judge(self) -> Models:
        teacher_families = frozenset().union(*(teacher.families for teacher in self.teachers))
        judges = self.judge is not None and self.judge.task != "embed"  # a similarity favours no relative
        kin = self.judge.families & teacher_families if self.judge and judges else frozenset()
        if kin and not self.allow_related_judge:
            # Preference leakage: Li et al., 2025, arXiv 2502.01534.
            raise ValueError(
                f"wanted a judge of another family than the teacher's, got {', '.join(sorted(kin))} twice; "
                "name another judge, or say allow_related_judge: true"
            )
        return self

    @field_validator("teacher", "judge", mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return {"model": value} if isinstance(value, str) else value

    @field_validator("embedder", mode="before")
    @classmethod
    def _short_form_of_embedder(cls, value: Any) -> Any:
        section = {"model": value} if isinstance(value, str) else value
        return {"task": "embed"} | section if isinstance(section, dict) else section

    @field_validator("others", mode="before")
    @classmethod
    def _short_form_of_each(cls, value: Any) -> Any:
        return [cls._short_form(item) for item in value] if isinstance(value, list) else value

    @property
    def teachers(self) -> list[Model]:
        return [self.teacher, *self.others]

    def card_text(self, field: Literal["name", "revision", "license", "terms"]) -> str:
        """The card's text on the teachers: one teacher's own text, or each teacher's, with its name."""
        if not self.others:
            return str(getattr(self.teacher, field))
        total = sum(teacher.weight for teacher in self.teachers)
        if field == "name":
            return ", ".join(f"{teacher.name} ({teacher.weight / total:.0%})" for teacher in self.teachers)
        return "; ".join(f"{teacher.name}: {text}" for teacher in self.teachers if (text := getattr(teacher, field)))

    def teacher_index_of(self, request_id: str) -> int:
        """The index of the teacher that answers this request: chosen in proportion to the weights by the request's id alone.

        A real row has no request; its index is 0.
        """
        if not self.others or not request_id:
            return 0
        point = int(request_id[:12], 16) / 16**12 * sum(teacher.weight for teacher in self.teachers)
        for place, teacher in enumerate(self.teachers):
            point -= teacher.weight
            if point < 0:
                return place
        return len(self.others)

    @property
    def engines(self) -> list[Model]:
        """One model per engine."""
        return engines_of(self.by_role())

    def by_role(self) -> dict[str, Model]:
        """Every model of the job by role: the first teacher is `teacher`, the second `teacher_2`."""
        teachers = {teacher_role(place): model for place, model in enumerate(self.teachers)}
        others = {"judge": self.judge, "embedder": self.embedder}
        return teachers | {role: model for role, model in others.items() if model is not None}


def engines_of(models: Mapping[str, Model]) -> list[Model]:
    """One model per engine that these roles need."""
    return list({model.engine_key: model for model in models.values()}.values())


def teacher_role(place: int) -> str:
    return f"teacher_{place + 1}" if place else "teacher"


def is_teacher(role: str) -> bool:
    """Whether a role answers requests; the others judge or embed."""
    return role.startswith("teacher")
