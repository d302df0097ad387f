"""Exit codes for a scheduler that repeats what failed, as KubeRay does: only what another start can change is a failure."""

from __future__ import annotations

import argparse
import sys

from synth_ray.cli.logs import print_event, wants_json
from synth_ray.errors import GateFailed, JobError, StoppedShort

_FINAL = (JobError.exit_code, GateFailed.exit_code, StoppedShort.exit_code)


def code_for_scheduler(arguments: argparse.Namespace, code: int) -> int:
    """The exit code of a command: 0 instead of a code that another start would give again, where --done-when-stopped says so.

    A wrong job, a failed gate and a spent budget need a person; a lost head needs another start, and keeps its code.
    """
    if code not in _FINAL or not getattr(arguments, "done_when_stopped", False):
        return code
    if wants_json(arguments):
        print_event("done", {"exit_code": code})
    else:
        print(
            f"synth-ray: ends with 0 instead of {code} (--done-when-stopped): a person decides what comes next", file=sys.stderr
        )
    return 0
