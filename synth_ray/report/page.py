"""report.html: one page that needs nothing beside it, from which a person decides whether to train."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from synth_ray.job.gates import Gate, parse_gate
from synth_ray.report import compared, counted, judged, origin, spent
from synth_ray.report.examples import arranged
from synth_ray.report.numerals import short
from synth_ray.report.verdict import verdict

_TEMPLATES = Path(__file__).parent / "templates"
_CODE = re.compile(r"`([^`]+)`")


def page(manifest: Mapping[str, Any], examples: Mapping[str, Any] | None = None, gates: Sequence[Gate] | None = None) -> str:
    """The HTML page of one manifest, its example rows and gates: its own job's, unless others are given.

    Law: the bytes are a function of the three; what is absent is left out; text of rows is escaped, bounded and never run.
    """
    parts = (counted, compared, judged, spent, origin)
    return render(
        "page.html.j2",
        m=manifest,
        verdict=verdict(manifest, [parse_gate(text) for text in manifest.get("gates") or ()] if gates is None else gates),
        examples=arranged(examples, manifest["rows"]),
        sections=[section for part in parts for section in part.sections(manifest) if section is not None],
    )


def render(template: str, **values: Any) -> str:
    """A template with the style sheet and the script in it, and a policy that lets no other script run."""
    style, script = (Markup(_read(name)) for name in ("page.css", "page.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return _environment().get_template(template).render(style=style, script=script, policy=policy, **values)


def coded(text: Any) -> Markup:
    """Text as HTML, what stands in backticks as code."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))


@cache
def _environment() -> Environment:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, loader=FileSystemLoader(_TEMPLATES)
    )
    environment.filters |= {"coded": coded, "short": short}
    return environment


@cache
def _read(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")
