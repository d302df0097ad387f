"""Refuses to send a secret: a package, an environment and metadata are read by everyone who may see the cluster."""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from typing import Any

from synth_ray.errors import JobError
from synth_ray.job.scrub import Scrub, Secrets
from synth_ray.scrub.detect.patterns import PatternFinder

ALLOW = "gitleaks:allow"
"""In a line of a file: what looks like a secret there is none. gitleaks reads the same words."""

_NAMES = re.compile(r"(?:^|_)(?:KEY|APIKEY|TOKEN|SECRET|PASSWORD|PASSWD|PWD|CREDENTIALS?)$")
_MAX_BYTES = 1_000_000
_TIMEOUT_S = 60.0


def refuse_secrets(
    document: Mapping[str, Any], *, allowed: Collection[str], env: Mapping[str, str], files: Mapping[str, bytes]
) -> None:
    """Raise JobError where a value of the job, a variable or a text file looks like one; the error has its place, never its text.

    `allowed` are values that are none, of the job's `scrub.allow`. Files of rows are not looked at: they are data.
    """
    for name, value in env.items():
        if value and _NAMES.search(name.upper()):
            raise JobError(_told(f"--env {name}", "a variable with a secret's name"))
    values = [(f"job, {key}", f"{key.rpartition('.')[2]}: {text}") for key, text in _texts(document, "")]
    values += [(f"--env {name}", f"{name}={value}") for name, value in env.items()]
    finder = _finder(entropy=True)
    harmless = {value.strip().casefold() for value in allowed}
    for place, text in values:
        if any(found.strip().casefold() not in harmless for found in _secrets(finder, text)):
            raise JobError(_told(place, "what looks like one"))
    _refuse_in_files(files)


def _refuse_in_files(files: Mapping[str, bytes]) -> None:
    """Without the rule on random-looking values: code is full of names that look like keys."""
    finder = _finder(entropy=False)
    for path, data in files.items():
        try:
            text = data.decode() if len(data) <= _MAX_BYTES else ""
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if ALLOW not in line and next(_secrets(finder, line), None) is not None:
                raise JobError(_told(f"{path}:{number}", "what looks like one") + f"; or write `{ALLOW}` into a line without any")


@cache
def _finder(*, entropy: bool) -> PatternFinder:
    return PatternFinder(Scrub(entities=[], secrets=Secrets(entropy=entropy)))


def _secrets(finder: PatternFinder, text: str) -> Iterator[str]:
    [findings] = finder.find([text], deadline=time.monotonic() + _TIMEOUT_S)
    return (text[found.start : found.end] for found in findings if found.entity == "SECRET")


def _told(place: str, got: str) -> str:
    return (
        f"{place}: wanted no secret in what everyone who sees the cluster can read, got {got}; put it into a variable of the "
        "cluster's own processes (on Kubernetes, from a Secret) and give the job that variable's name, as key_env"
    )


def _texts(value: Any, at: str) -> Iterator[tuple[str, str]]:
    """Every text of a document with its dotted key; the keys of a mapping are the user's, too."""
    if isinstance(value, str):
        yield at, value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield f"{at}.{name}".lstrip("."), str(name)
            yield from _texts(inner, f"{at}.{name}".lstrip("."))
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from _texts(inner, f"{at}.{number}")
