"""What `bench.throughput` and `bench.levers` ask of a scheme: a model, an engine's arguments, prompts, lengths of answers."""

from __future__ import annotations

import json
import math
import os
import random
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from bench.shapes import SHAPES
from synth_ray.ask.vllm.build import is_cpu_build
from synth_ray.job.running import Plan
from synth_ray.plan.chunks import permutation

Prompt = dict[str, Any]

TINY = Path(__file__).parent.parent / "models" / "tiny-teacher"
WORDS = "order refund late parcel invoice account please help broken wrong size colour again yesterday".split()
TONES = ("brief", "angry", "worried", "polite")


def set_environment() -> None:
    """What every scheme's process runs under. On the CPU an engine computes on one core, so that the others are free for the
    rest, as beside a GPU; a GPU's engine has vLLM's own environment.
    """
    os.environ["VLLM_LOGGING_LEVEL"] = "ERROR"
    if is_cpu_build():
        os.environ |= {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "1"}


def engine_arguments(named: Mapping[str, Any], *, is_shape: bool, given: Sequence[str]) -> dict[str, Any]:
    """The arguments that have a value, dummy weights for a shape, and `given` as NAME=VALUE, which win. On the CPU nothing is
    compiled, as in the demo: it would take longer than the run.
    """
    engine = {name: value for name, value in named.items() if value is not None}
    engine |= {"enforce_eager": True} if is_cpu_build() else {}
    engine |= {"load_format": "dummy"} if is_shape else {}
    return engine | {name: yaml.safe_load(value) for name, _, value in (text.partition("=") for text in given)}


@dataclass(frozen=True)
class Workload:
    """`prompt_tokens` of 0 are short requests as they are. Answers are lognormal: a few are ten times the median; or `lengths`
    are their tokens, in turn. `texts` are prompts in place of made ones. `engines` share one accelerator; peers have one.
    `recipe` and `sampling` are more keys of a whole job's.
    """

    model: str
    requests: int
    prompt_tokens: int
    answer_tokens: float
    answer_spread: float
    longest_answer: int
    engine: Mapping[str, Any] = field(default_factory=dict)
    engines: int = 1
    recipe: Mapping[str, Any] = field(default_factory=dict)
    sampling: Mapping[str, Any] = field(default_factory=dict)
    lengths: Sequence[int] = ()
    texts: Sequence[str] = ()

    @cached_property
    def prompts(self) -> list[Prompt]:
        draw = random.Random(7)
        text = self._given if self.texts else self._long if self.prompt_tokens else self._short
        return [{"prompt": text(draw, number), "tokens": self._length(draw, number)} for number in range(self.requests)]

    def _length(self, draw: random.Random, number: int) -> int:
        if self.lengths:
            return self.lengths[number % len(self.lengths)]
        mu = math.log(self.answer_tokens) - self.answer_spread**2 / 2
        return max(4, min(self.longest_answer, round(draw.lognormvariate(mu, self.answer_spread))))

    def planned(self) -> list[Prompt]:
        """The prompts in the order in which the run plans them, so that all schemes have the same long prompts at the end."""
        return [self.prompts[i] for i in permutation(self.requests, Plan().seed, 0).tolist()]

    def _given(self, _draw: random.Random, number: int) -> str:
        return self.texts[number % len(self.texts)]

    def _short(self, draw: random.Random, number: int) -> str:
        return f"Write one new customer message.\nIntent: refund\nTone: {draw.choice(TONES)}\nNew message {number}:"

    def _long(self, draw: random.Random, _number: int) -> str:
        """0.6 to 1.4 times `prompt_tokens`, each with its own start, so that no prefix is shared."""
        tokens = self.prompt_tokens * draw.uniform(0.6, 1.4)
        return f"{draw.randrange(10**6)} " + self.words(draw, tokens)

    def words(self, draw: random.Random, tokens: float) -> str:
        """A text of about so many tokens."""
        return " ".join(draw.choices(WORDS, k=int(tokens / self._tokens_a_word)))

    @cached_property
    def _tokens_a_word(self) -> float:
        from tokenizers import Tokenizer

        file = Path(self.model) / "tokenizer.json"
        tokenizer = Tokenizer.from_file(str(file)) if file.is_file() else Tokenizer.from_pretrained(self.model)
        return len(tokenizer.encode(" ".join(WORDS * 30)).ids) / (30 * len(WORDS))


@contextmanager
def model_of_shape(shape: str) -> Iterator[str]:
    """A folder with a model of a known architecture, for `load_format: dummy`: its configuration, with the tiny teacher's
    tokenizer and template. `shape` names one of `bench.shapes`, or a configuration file.
    """
    config = SHAPES[shape] if shape in SHAPES else json.loads(Path(shape).read_text(encoding="utf-8"))
    with TemporaryDirectory(prefix="shape-") as folder:
        for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"):
            shutil.copy(TINY / name, folder)
        Path(folder, "config.json").write_text(json.dumps(config))
        yield folder
