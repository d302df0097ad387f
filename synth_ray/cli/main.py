"""Runs a command, and gives its exit code."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from synth_ray.cli.arguments import parser
from synth_ray.cli.done import code_for_scheduler
from synth_ray.cli.logs import print_event, set_up_logging, wants_json
from synth_ray.errors import SynthRayError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns its exit code: 0 done, 1 failed, 2 wrong job or input, 3 quality gate failed, 4 stopped early."""
    arguments = parser().parse_args(argv)
    in_json = wants_json(arguments)
    set_up_logging(verbose=arguments.verbose, in_json=in_json)
    command = importlib.import_module(f"synth_ray.cli.{arguments.command}")
    try:
        if "prefix" in arguments:
            require = importlib.import_module("synth_ray.cli.prefix").require_output
            require(arguments.prefix, published=arguments.command in ("report", "export", "sample", "view"))
        return int(command.main(arguments))
    except SynthRayError as error:
        _print_error(error, in_json=in_json)
        return code_for_scheduler(arguments, error.exit_code)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 0


def _print_error(error: SynthRayError, *, in_json: bool) -> None:
    if in_json:
        print_event("error", {"message": str(error), "exit_code": error.exit_code})
    else:
        print(f"synth-ray: {error}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
