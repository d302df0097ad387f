"""Calls a user's verifier. Started as `python function_child.py module:function`; imports nothing of this project.

Each line of stdin is `[number, [answer, gold]]`, each line of stdout `[number, {"value": …}]` or `[number, {"error": type}]`.
What the function prints goes to stderr, so that it cannot answer for itself.
"""

import importlib
import json
import math
import os
import sys
from collections.abc import Callable
from typing import Any


def load(name: str) -> Callable[..., Any]:
    module, _, function = name.partition(":")
    value = getattr(importlib.import_module(module), function)
    if not callable(value):
        raise TypeError("wanted a function")
    return value  # type: ignore[no-any-return]


def plain(value: Any) -> dict[str, Any]:
    """The value where it may be a verdict: a bool, a number from 0 to 1, None."""
    if value is None or isinstance(value, bool):
        return {"value": value}
    if isinstance(value, int | float) and math.isfinite(value) and 0 <= value <= 1:
        return {"value": float(value)}
    kind = type(value).__name__
    return {"error": f"returned {kind}, not a bool, a number from 0 to 1 or None"}


def main() -> None:
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        function = load(sys.argv[1])
    except BaseException as error:
        out.write(json.dumps({"error": f"could not import it: {type(error).__name__}"}) + "\n")
        out.flush()
        return
    out.write('{"ready": true}\n')
    out.flush()
    for line in sys.stdin:
        number, (answer, gold) = json.loads(line)
        try:
            said = plain(function(answer, gold))
        except BaseException as error:
            said = {"error": f"raised {type(error).__name__}"}
        out.write(json.dumps([number, said]) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
