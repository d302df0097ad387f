"""Where the tiny models are that come with the package."""

from __future__ import annotations

from pathlib import Path

from synth_ray.errors import MissingResource

_PACKAGE = Path(__file__).parents[1]


def bundled_teacher_path() -> Path:
    """The folder of the bundled tiny teacher, absolute: inside an installed package, or models/ of a checkout.

    Raises MissingResource where it is in neither.
    """
    return _bundled("teacher")


def bundled_thinker_path() -> Path:
    """The folder of the bundled tiny thinker, which thinks before it answers and calls tools. Places and errors as above."""
    return _bundled("thinker")


def _bundled(name: str) -> Path:
    places = (_PACKAGE / f"_tiny_{name}", _PACKAGE.parent / "models" / f"tiny-{name}")
    for place in places:
        if (place / "config.json").is_file():
            return place
    raise MissingResource(
        f"the bundled tiny {name}: wanted it in {places[0]} or {places[1]}, got neither; install the synth-ray wheel, or "
        "name a model of your own"
    )
