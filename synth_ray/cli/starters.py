"""The files that `synth-ray init` writes: a job for a recipe and a machine, seeds of the right shape, real rows to hold out.

The texts are in `templates/`: a job per recipe, a block of models per kind of machine, seeds per shape. Templates of `recipe`
are Jinja themselves, so what is filled in here has other marks: `<< name >>` and `<% statement %>`.
"""

from __future__ import annotations

import json
from difflib import get_close_matches
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from synth_ray.cli.machine import MachineKind
from synth_ray.errors import JobError

DEFAULT_RECIPE = "distill"
"""The recipe of a plain `init`."""

SEEDS_OF = {
    "distill": "requests",
    "vary": "requests",
    "fill": "tickets",
    "label": "tickets",
    "evolve": "problems",
    "rewrite": "pages",
    "prefer": "tickets",
    "converse": "tickets",
    "edge_cases": "tickets",
    "stand_in": "visits",
    "build": "answered",
    "score": "answered",
    "passes": "sums",
}
"""Each recipe, and the file of seeds it starts from."""

_TEMPLATES = Path(__file__).parent / "templates"
_HELD_OUT = "held_out.jsonl"


def starter(recipe: str, kind: MachineKind, *, teacher: Path) -> dict[str, str]:
    """Text by file name. `teacher` is the bundled teacher's folder, named by jobs for a machine that has no other.

    Raises JobError that names the nearest recipe for one that is not known.
    """
    if recipe not in SEEDS_OF:
        near = get_close_matches(recipe, SEEDS_OF, 1)
        hint = f"did you mean '{near[0]}'?" if near else f"`--recipe {DEFAULT_RECIPE}` is the simplest"
        raise JobError(f"init --recipe: wanted one of {', '.join(SEEDS_OF)}, got '{recipe}'; {hint}")
    job = _job(recipe, kind, teacher)
    names = {"seeds.jsonl": SEEDS_OF[recipe]} | ({_HELD_OUT: "held_out"} if _HELD_OUT in job else {})
    return {"job.yaml": job} | {name: _seeds(source) for name, source in names.items()}


def _job(recipe: str, kind: MachineKind, teacher: Path) -> str:
    environment = Environment(
        variable_start_string="<<",
        variable_end_string=">>",
        block_start_string="<%",
        block_end_string="%>",
        comment_start_string="<#",
        comment_end_string="#>",
        trim_blocks=True,  # a line that is a statement leaves no line
        keep_trailing_newline=True,
        autoescape=False,  # YAML, not HTML
        undefined=StrictUndefined,
        loader=FileSystemLoader(_TEMPLATES),
    )
    is_kind = {member.value: member is kind for member in MachineKind}
    values = {"models": f"models/{kind.value}.yaml", "teacher": json.dumps(str(teacher)), "judge": False}
    return environment.get_template(f"jobs/{recipe}.yaml").render(**is_kind, **values)


def _seeds(name: str) -> str:
    return (_TEMPLATES / "seeds" / f"{name}.jsonl").read_text(encoding="utf-8")
