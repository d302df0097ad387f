"""What this package uses of Ray that Ray does not promise to keep. Everything else of Ray is its public API.

`tests/house/test_internals.py` fails with a plain sentence when an upgrade moves any of it.
"""

from __future__ import annotations

from ray._private.state import state


def draining_deadlines() -> dict[str, int]:
    """By id of each node that is being drained: when it ends, in ms since 1970; 0 without a deadline.

    Ray has no public name for it; Ray Train reads the same.
    """
    deadlines: dict[str, int] = state.get_draining_nodes()
    return deadlines
