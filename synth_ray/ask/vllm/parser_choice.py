"""Which of vLLM's parsers there are, with which reasoning parser an engine is started, and what the job may ask of its thoughts:
told without vLLM.
"""

from __future__ import annotations

import ast
import importlib.util
import json
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from synth_ray.ask.vllm.template_thinking import Render, template_thinking
from synth_ray.errors import JobError
from synth_ray.job.models import Model
from synth_ray.job.reasoning import HARMONY, THINK

_PARSER_TABLE = "_REASONING_PARSERS_TO_REGISTER"
_TOOL_PARSER_TABLE = "_TOOL_PARSERS_TO_REGISTER"
_OTHER_MARKS = frozenset({HARMONY, "mistral", "granite", "seed_oss", "hunyuan_a13b", "gemma4"})
"""Parsers of the table in job.reasoning whose marks are not `<think>` and `</think>`."""
_WITHOUT_BUDGET = frozenset({HARMONY, "granite", "hunyuan_a13b", "muse_glimmer"})
"""Parsers of thoughts that end in no mark that the engine could force."""


def engine_parser(model: Model, render: Render | None) -> str:
    """The parser that the engine of this model is started with; empty for none. `render` is its template, where it is known.

    One that the job does not name is used only if the tokenizer has its marks as tokens, as far as that can be told: vLLM starts
    with no other.
    """
    parser = model.reasoning_parser
    if not parser and render is not None and model.chat:
        parser = template_thinking(render, model, where="models").parser
    if is_parser_named(model) or parser in _OTHER_MARKS or not parser:
        return parser
    return parser if _has_think_tokens(Path(model.tokenizer or model.model).expanduser() / "tokenizer.json") else ""


def is_parser_named(model: Model) -> bool:
    """Whether the job names the parser."""
    return bool(model.reasoning and model.reasoning.parser) or "reasoning_parser" in model.engine_args


def refuse_bad_reasoning(model: Model, render: Render | None, *, where: str) -> None:
    """Raise JobError for a thought that the engine cannot take apart, switch or limit as the job says."""
    wanted = model.reasoning
    if wanted is None:
        return
    known = known_parsers()
    if wanted.parser and known and wanted.parser not in known:
        near = get_close_matches(wanted.parser, known, 1)
        raise JobError(
            f"{where}.reasoning.parser: wanted a reasoning parser of the installed vLLM, got '{wanted.parser}'"
            + (f"; did you mean '{near[0]}'?" if near else f"; it has {', '.join(known)}")
        )
    if not model.chat and (wanted.think is not None or wanted.effort):
        raise JobError(
            f"{where}.reasoning: wanted a chat template to set think or effort, got chat: false; leave both out, or leave chat on"
        )
    if wanted.budget is None or wanted.think is False:
        return
    parser = engine_parser(model, render)
    if not parser or parser in _WITHOUT_BUDGET:
        got = f"parser {parser}, whose thoughts end in none" if parser else "no known parser whose marks are tokens of the model"
        raise JobError(
            f"{where}.reasoning.budget: wanted a model whose thoughts end in a mark that the engine can set, got {got}; name "
            "reasoning.parser, or leave budget out and set effort or sampling.max_tokens"
        )


def refuse_unknown_tool_parser(model: Model, *, where: str) -> None:
    """Raise JobError for a parser of tool calls that the installed vLLM does not have."""
    known = _names_in("tool_parsers", _TOOL_PARSER_TABLE)
    if model.tool_parser and known and model.tool_parser not in known:
        near = get_close_matches(model.tool_parser, known, 1)
        raise JobError(
            f"{where}.tool_parser: wanted a tool parser of vLLM's, got '{model.tool_parser}'"
            + (f"; did you mean '{near[0]}'?" if near else f"; it has {', '.join(known)}")
        )


def known_parsers() -> tuple[str, ...]:
    """The names of the installed vLLM's reasoning parsers."""
    return _names_in("reasoning", _PARSER_TABLE)


@cache
def _names_in(package: str, table: str) -> tuple[str, ...]:
    """The names in a table of vLLM's source; none where its source has another form."""
    try:
        spec = importlib.util.find_spec("vllm")
        folder = Path(next(iter(spec.submodule_search_locations or ()))) if spec else Path()
        tree = ast.parse((folder / package / "__init__.py").read_text(encoding="utf-8"))
    except (OSError, SyntaxError, StopIteration):
        return ()
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict) and ast.unparse(node.targets[0]) == table:
            return tuple(sorted(str(key.value) for key in node.value.keys if isinstance(key, ast.Constant)))
    return ()


def _has_think_tokens(file: Path) -> bool:
    """Whether a tokenizer's file has the marks as tokens of their own. One that is not here is trusted to: its name is known."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return True
    added = {token.get("content") for token in found.get("added_tokens") or () if isinstance(token, dict)}
    vocabulary = (found.get("model") or {}).get("vocab") or ()
    return all(mark in added or (isinstance(vocabulary, dict) and mark in vocabulary) for mark in THINK)
