"""Which tests go to one process where several run: a module's, whose servers then start once, and all that need the engine."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from xdist.scheduler import LoadScopeScheduling

ENGINE = "vllm_teacher"
"""The fixture of the one engine of the whole suite."""


class ModulesTogether(LoadScopeScheduling):
    """Gives a module as a whole to a process, and all modules that name the engine's fixture to the same one."""

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        return ENGINE if _names_engine(self.config.rootpath / module) else module


@cache
def _names_engine(module: Path) -> bool:
    return ENGINE in module.read_text()
