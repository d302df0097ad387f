"""Where the tiny teacher is that comes with the package."""

from __future__ import annotations

from pathlib import Path

from synth_ray.errors import MissingResource

_PACKAGE = Path(__file__).parents[1]
_PLACES = (_PACKAGE / "_tiny_teacher", _PACKAGE.parent / "models" / "tiny-teacher")


def bundled_teacher_path() -> Path:
    """The folder of the bundled tiny teacher, absolute: inside an installed package, or models/ of a checkout.

    Raises MissingResource where it is in neither.
    """
    for place in _PLACES:
        if (place / "config.json").is_file():
            return place
    raise MissingResource(
        f"the bundled tiny teacher: wanted it in {_PLACES[0]} or {_PLACES[1]}, got neither; install the synth-ray wheel, or "
        "name a model of your own"
    )
