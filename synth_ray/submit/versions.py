"""The versions that must agree between the machine that submits and the cluster."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version

from synth_ray.errors import JobError
from synth_ray.version import __version__

SUBMITTED_BY = "SYNTH_RAY_SUBMITTED_BY"
"""The submitter's version of synth_ray, in the driver's environment."""


def refuse_other_version(environment: Mapping[str, str]) -> None:
    """Raise JobError in a driver that is not of its submitter's version: it may make other rows of the job, and pay for them."""
    submitter = environment.get(SUBMITTED_BY, "")
    if submitter not in ("", __version__):
        raise JobError(
            f"submit: wanted synth_ray {submitter} on the cluster, as on the machine that submitted, got {__version__}; submit "
            "with that version, change the cluster's image, or send the package (--with-package)"
        )


def refuse_other_ray(on_cluster: str, *, address: str) -> None:
    """Raise JobError where the head runs another Ray than this synth_ray is tested with, to the patch."""
    here = version("ray")
    if on_cluster != here:
        raise JobError(
            f"--address: wanted Ray {here} at {address}, as this synth_ray needs, got {on_cluster or 'no version'}; use an image "
            f"with Ray {here}, or the synth_ray that goes with the cluster's"
        )
