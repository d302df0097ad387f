"""Write the pages of docs/reference/ from the code: job keys, recipe options, commands, reasons. Run: python docs/generate.py."""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from synth_ray import errors
from synth_ray.cli.arguments import parser
from synth_ray.job.document import Job
from synth_ray.job.engine_args import RESULT_ENGINE_ARGS
from synth_ray.job.section import OneOrMore, Section
from synth_ray.recipes.catalogue import BUILT_IN, find
from synth_ray.records import Reason, verdict_of
from synth_ray.report.reasons import ENTRIES

FOLDER = Path(__file__).parent / "reference"
GENERATED = "<!-- Written by `make docs-reference` (docs/generate.py) from the code: do not edit. -->\n\n"
TYPES = {"string": "text", "integer": "whole number", "number": "number", "boolean": "`true` or `false`", "null": "`null`"}
LIMITS = {
    "minimum": "≥ {}", "exclusiveMinimum": "> {}", "maximum": "≤ {}", "exclusiveMaximum": "< {}",
    "multipleOf": "a multiple of {}", "maxLength": "at most {} characters", "pattern": "of the form `{}`",
}  # fmt: skip
NOT_EMPTY = ("minLength", "minItems", "minProperties")

JOB_HEAD = """# Keys of the job file

Every key of the [job file](../jobs.md). `synth-ray check --schema` prints the same as a JSON Schema, for editors. A key without a
default has to be given. The options of a recipe are on [a page of their own](recipes.md).

**What a change costs.** Each key says what it costs to change it for a dataset that exists already:

| word | what happens when the key is changed |
|---|---|
| `ask` | The model would be asked something else: a new run. The same output is refused; give `output.path` another place. |
| `stage` | Nothing is asked: [`synth-ray curate`](../curation.md) checks, scrubs and compares the stored text again. |
| `admit` | The stored rows are decided again. `synth-ray run` and `synth-ray curate` both do it; nothing is asked. |
| `nothing` | No row changes: the key is about place, speed, limits or the card. |

A section that can be left out (`null`) shows the cost of adding or removing it; its own keys follow under its heading.
"""

RECIPES_HEAD = """# Options of the recipes

The options of every built-in recipe. They stand beside `name` in the job: `recipe: {name: distill, n: 2}`. A change of any of
them costs `ask`: it is a new run. [Recipes](../recipes.md) explains each recipe, with examples, and how to write your own.
"""

CLI_HEAD = """# Commands

`synth-ray [--verbose] [--version] COMMAND …`. `--verbose` logs what happens, not only what matters. Every command prints its
result on standard output, and at most one error on standard error.
"""

REASONS_HEAD = """# Reasons

Every seed that is not used and every row that is not accepted has one of these reasons. The manifest, the card and the report
count them; `rejected/` holds the rows themselves, with `reason` and `detail`. The list is closed: no other value occurs.

A row ends as *accepted*, *rejected* (an answer was made and refused) or *failed* (no answer was made). A seed that is not used
is *rejected*. A row has one reason, the first one that applies. All flags that checks raised are kept with the staged row;
`check.drop` says which of them reject it.

The stages, in order: **seed** reads the sources, **ask** asks the model, **recipe** makes rows of the answers, **check** checks
them, **scrub** removes personal data and secrets, **admit** compares each row with those kept before it.
"""

NOTES = {
    "seeds": "Under `seeds` it is the rows read that count, not the keys: a change after which the same seeds are read costs "
    "nothing, and `limit` costs `ask` when it changes which are read. Under `split.real`, `mix.real`, "
    "`decontaminate.against` and `target.balance.like` a key marked `ask` costs `admit`, because no model sees these rows.",
    "models.teacher": "Most of `engine_args` only changes speed. These can change an answer and cost `ask`: "
    + ", ".join(f"`{name}`" for name in sorted(RESULT_ENGINE_ARGS))
    + ". `trust_remote_code` is not compared with the earlier run's.",
}
SHORT_OF_THE_PLAN = ("run", "curate")
"""Commands that can end with a valid dataset that is not complete."""


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


def pages() -> dict[str, str]:
    """Every generated page by its file name."""
    texts = {"job.md": job_page(), "recipes.md": recipes_page(), "cli.md": cli_page(), "reasons.md": reasons_page()}
    return {name: GENERATED + text.rstrip() + "\n" for name, text in texts.items()}


def job_page() -> str:
    sections = list(_sections(Job, ""))
    places: dict[type[BaseModel], list[str]] = {}
    for path, section in sections:
        places.setdefault(section, []).append(path)
    anchors = {section: _anchor(paths[0]) for section, paths in places.items()}
    parts = [JOB_HEAD, "## The job\n\n" + _table(Job, anchors)]
    for section, paths in places.items():
        level = "##" if "." not in paths[0] else "###"
        also = f"\n\nThe same keys stand under {', '.join(map(_code, paths[1:]))}." if len(paths) > 1 else ""
        note = f"\n\n{NOTES[paths[0]]}" if paths[0] in NOTES else ""
        parts.append(f"{level} {paths[0]}\n\n{_docstring(section)}{also}{note}\n\n{_table(section, anchors)}")
    return "\n\n".join(parts)


def _sections(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, type[BaseModel]]]:
    for name, field in model.model_fields.items():
        for inner in _models_in(field.annotation):
            yield prefix + name, inner
            yield from _sections(inner, f"{prefix}{name}.")


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]


def recipes_page() -> str:
    return "\n\n".join([RECIPES_HEAD, *map(_recipe, BUILT_IN)])


def _recipe(name: str) -> str:
    recipe = find(name)
    docstring = importlib.import_module(f"synth_ray.recipes.{name}").__doc__ or ""
    summary = " ".join(docstring.strip().split("\n\n")[0].split()).removeprefix(f"`{name}`: ")
    inner = list(_sections(recipe.options, ""))
    anchors = {section: _anchor(f"{name}.{path}") for path, section in inner}
    parts = [
        f"## {name}\n\n{summary[0].upper()}{summary[1:]}\n\n{_table(recipe.options, anchors, costs=False)}",
        *_templates(recipe.options),
    ]
    parts += [f"### {name}.{path}\n\n{_docstring(section)}\n\n{_table(section, anchors, costs=False)}" for path, section in inner]
    return "\n\n".join(parts)


def _templates(options: type[Section]) -> Iterator[str]:
    """Defaults that are too long for a table."""
    for name, field in options.model_fields.items():
        if isinstance(field.default, str) and "\n" in field.default:
            yield f"The built-in `{field.alias or name}`:\n\n```text\n{field.default}\n```"


def _table(section: type[BaseModel], anchors: dict[type[BaseModel], tuple[str, str]], *, costs: bool = True) -> str:
    properties = section.model_json_schema()["properties"]
    links = {model.__name__: f"[{path}](#{anchor})" for model, (anchor, path) in anchors.items()}
    head = ["key", "type and range", "default", *(["change"] if costs else []), "meaning"]
    rows = []
    for name, field in section.model_fields.items():
        schema = properties[field.alias or name]
        several = "one or a " if OneOrMore in field.metadata else ""
        cost = [_cost(field)] if costs else []
        cells = [f"`{field.alias or name}`", several + _type(schema, links), _default(field, schema), *cost]
        rows.append([*cells, schema.get("description", "")])
    return _markdown(head, rows)


def _markdown(head: list[str], rows: list[list[str]]) -> str:
    """A table. A bar within a cell is escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |" for line in lines)


def _anchor(path: str) -> tuple[str, str]:
    return path.replace(".", ""), path


def _type(schema: dict[str, Any], links: dict[str, str]) -> str:
    if "$ref" in schema:
        return links.get(schema["$ref"].rsplit("/", 1)[-1], "a section")
    if "anyOf" in schema:
        return " or ".join(_type(one, links) for one in schema["anyOf"] if one.get("type") != "null")
    if "enum" in schema:
        return "one of " + ", ".join(map(_code, schema["enum"]))
    if "const" in schema:
        return _code(schema["const"])
    limits = [text.format(_plain(schema[name])) for name, text in LIMITS.items() if name in schema]
    limits += ["not empty" for name in NOT_EMPTY if schema.get(name) and "prefixItems" not in schema]
    return ", ".join([_kind(schema, links), *limits])


def _kind(schema: dict[str, Any], links: dict[str, str]) -> str:
    match schema.get("type"):
        case "array" if "prefixItems" in schema:
            return f"a list of {len(schema['prefixItems'])}: " + ", ".join(_type(one, links) for one in schema["prefixItems"])
        case "array":
            return f"list of {_type(schema.get('items', {}), links)}"
        case "object":
            values = schema.get("additionalProperties")
            return f"mapping to {_type(values, links)}" if isinstance(values, dict) and values else "mapping"
        case kind:
            return TYPES.get(kind, "any value") if isinstance(kind, str) else "any value"


def _default(field: Any, schema: dict[str, Any]) -> str:
    if field.is_required():
        return "**required**"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return "its own defaults"
    if isinstance(value, list) and value == schema.get("items", {}).get("enum"):
        return "all of them"
    if isinstance(value, str) and "\n" in value:
        return "built-in, below"
    return _code(value)


def _code(value: Any) -> str:
    """A value as a job would say it."""
    text = value if isinstance(value, str) and value.strip() else json.dumps(value, ensure_ascii=False)
    return f"`{text}`"


def _cost(field: Any) -> str:
    is_there = field.is_required() or isinstance(field.get_default(call_default_factory=True), BaseModel)
    if is_there and _models_in(field.annotation):
        return ""  # its keys answer for themselves
    extra = field.json_schema_extra
    return f"`{extra['changes']}`" if isinstance(extra, dict) and "changes" in extra else "`ask`"


def cli_page() -> str:
    commands = next(action for action in parser()._actions if isinstance(action, argparse._SubParsersAction))
    texts = {action.dest: action.help or "" for action in commands._choices_actions}
    return "\n\n".join([CLI_HEAD, *(_command(name, one, texts[name]) for name, one in commands.choices.items()), _exit_codes()])


def _command(name: str, command: argparse.ArgumentParser, text: str) -> str:
    actions = [action for action in command._actions if action.dest != "help"]
    words = [_usage(action) for action in actions if action.required or not action.option_strings]
    usage = " ".join(["synth-ray", name, *words, *(["[OPTIONS]"] if any(action.option_strings for action in actions) else [])])
    rows = []
    for action in actions:
        shown = ", ".join(action.option_strings) or action.dest.upper()
        value = f" {_value(action)}" if action.option_strings and action.nargs != 0 else ""
        rows.append([f"`{shown}{value}`", _sentence(action.help or "")])
    codes = "0, 1, 2, 3, 4" if name == "eval" else "0, 1, 2, 4" if name in SHORT_OF_THE_PLAN else "0, 1, 2"
    table = _markdown(["argument", "meaning"], rows)
    return f"## synth-ray {name}\n\n{_sentence(text)}\n\n```text\n{usage}\n```\n\n{table}\n\n[Exit codes](#exit-codes): {codes}."


def _usage(action: argparse.Action) -> str:
    if action.option_strings:
        return f"{action.option_strings[-1]} {action.dest.upper()}"
    return f"[{action.dest.upper()}]" if action.nargs == "?" else action.dest.upper()


def _value(action: argparse.Action) -> str:
    if action.choices:
        return "{" + ",".join(map(str, action.choices)) + "}"
    return str(action.metavar or action.dest.upper())


def _exit_codes() -> str:
    meanings = {
        0: "Done.",
        errors.SynthRayError.exit_code: "The command failed: the store, the engine or the cluster. What is committed is kept; "
        "run the same command again.",
        errors.JobError.exit_code: "The job, its input or the command line is wrong. Nothing was spent.",
        errors.GateFailed.exit_code: "A quality gate failed. What was made is there all the same.",
        errors.StoppedShort.exit_code: "Stopped before the end (a budget, a limit, a signal, a target not reached). A valid "
        "dataset is published, marked `complete: false`; the same command goes on.",
        130: "Interrupted by a second Ctrl-C.",
    }
    return "## Exit codes\n\n" + _markdown(["code", "meaning"], [[str(code), text] for code, text in meanings.items()])


def reasons_page() -> str:
    rows = [
        [f"`{reason.value}`", verdict_of(reason).value, ", ".join(one.stages), one.meaning, one.advice]
        for reason in Reason
        for one in [ENTRIES[reason]]
    ]
    return REASONS_HEAD + "\n" + _markdown(["reason", "ends as", "stage", "meaning", "if there are many"], rows)


def _docstring(section: type[BaseModel]) -> str:
    return "\n\n".join(" ".join(part.split()) for part in (section.__doc__ or "").strip().split("\n\n"))


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:].rstrip('.')}." if text else ""


def _plain(value: Any) -> str:
    return f"{value:,.10g}".rstrip(".") if isinstance(value, (int, float)) else str(value)


if __name__ == "__main__":
    main()
