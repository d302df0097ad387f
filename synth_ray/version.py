"""The version of this package, the same in a checkout, an installed wheel and a folder that was sent to a cluster."""

from __future__ import annotations

__version__ = "0.1.0"
