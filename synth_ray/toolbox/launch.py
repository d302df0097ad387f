"""How a program's process is started: what it may read, write and know, as arguments of `isolation`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from synth_ray.errors import MissingResource
from synth_ray.toolbox import isolation
from synth_ray.toolbox.programs import Program

PYTHON = os.path.realpath(sys.executable)
_MEMORY_BYTES = 4_000_000_000
_SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache", "/etc/localtime", "/etc/alternatives")
_FOR_NETWORK = ("/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/ssl", "/etc/pki", "/etc/ca-certificates")
_PROBE_S = 20.0


def module_folders() -> list[str]:
    """The folders in which this process finds modules: a job's own are found there, too."""
    return list(dict.fromkeys(os.path.abspath(folder) for folder in sys.path))


def isolated_command(program: Program, command: Sequence[str], root: str) -> list[str]:
    """The command that starts `command` with what the program may see. `root` is an empty folder, used while it runs.

    It must be given the variables of `environment_of`: every user of the host can read a command, and these may be secrets.
    """
    reads = [sys.base_prefix, sys.prefix, *_SYSTEM, *module_folders(), os.getcwd(), *map(os.path.abspath, program.reads)]
    settings = {
        "command": list(command),
        "environment": sorted(environment_of(program)),
        "folder": os.getcwd(),
        "memory": _MEMORY_BYTES,
        "isolate": program.isolate,
        "root": root,
        "reads": _without_nested([*reads, *(_FOR_NETWORK if program.network else ())]),
        "writes": [os.path.abspath(folder) for folder in program.writes],
        "network": program.network,
    }
    return [PYTHON, "-I", "-S", "-B", str(Path(isolation.__file__)), json.dumps(settings)]


def environment_of(program: Program) -> dict[str, str]:
    """A few harmless variables, and those that the job names. Raises MissingResource for one that is not set."""
    plain = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LANG": "C.UTF-8", "HOME": "/tmp", "PYTHONDONTWRITEBYTECODE": "1"}
    for name in program.environment:
        if name not in os.environ:
            raise MissingResource(
                f"recipe.tools: wanted the environment variable {name}, got none; set it, or take it out of `env`"
            )
        plain[name] = os.environ[name]
    return plain


def _without_nested(folders: Iterable[str]) -> list[str]:
    """Without those inside another; not the root folder, which would show everything."""
    kept: list[str] = []
    for folder in sorted({folder for folder in folders if folder != "/" and os.path.exists(folder)}):
        if not kept or not folder.startswith(kept[-1] + "/"):
            kept.append(folder)
    return kept


def require_isolation(program: Program) -> None:
    """Raise MissingResource, with the kind of isolation, where this host cannot run the program as it is declared."""
    for folder in program.writes:
        if not Path(folder).is_dir():
            raise MissingResource(f"recipe.tools: wanted a folder that exists in `writes`, got '{folder}'; make it")
    if not program.isolate:
        return
    with tempfile.TemporaryDirectory(prefix="synth-ray-tool-") as root:
        command = isolated_command(program, [PYTHON, "-I", "-S", "-c", "pass"], root)
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                env=environment_of(program),
                timeout=_PROBE_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise MissingResource(f"recipe.tools: wanted a tool's process to start, got none within {_PROBE_S:g} s") from None
    if done.returncode:
        told = done.stderr.decode("utf-8", "replace")[-200:]
        raise MissingResource(
            f"recipe.tools: wanted a host that can isolate a tool, got one that cannot ({told}); allow unprivileged user "
            "namespaces, or say `isolate: false` for tools that you trust"
        )
