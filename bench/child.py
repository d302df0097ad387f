"""A measure in a process of its own: vLLM's engine cannot be unloaded."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

Figures = dict[str, Any]


def figures_of(module: str, arguments: Sequence[str], *, timeout_s: float) -> Figures:
    """The JSON object that is the last line of the module's output. Its process group is ended as a whole when its time is up.
    `failed` says why there are no figures; `tok/s` are its `tokens` ÷ its `seconds`.
    """
    with tempfile.TemporaryFile("w+") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", module, *arguments], stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True
        )
        try:
            output, _ = child.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
            return {"failed": f"more than {timeout_s:g} s"}
        if child.returncode:
            log.seek(0)
            sys.stderr.write(log.read()[-3000:])
            return {"failed": f"ended with code {child.returncode}; the end of its log is above"}
    result: Figures = json.loads(output.splitlines()[-1])
    return result if "failed" in result else result | {"tok/s": result["tokens"] / result["seconds"]}
