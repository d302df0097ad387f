"""Writes rayjob.yaml: what `synth-ray submit jobs/distill-gpu-s3.yaml --render --values values.yaml` prints, without a bucket.

The job's digest is over the contents of its seeds, so a render needs them; this one has a made-up digest. Run it from the root of
the repository: python infra/kuberay/sample/render.py
"""

from __future__ import annotations

from pathlib import Path

from synth_ray.job.load import load_job
from synth_ray.job.yaml_file import read_yaml
from synth_ray.submit.package import Package, package_of
from synth_ray.submit.rayjob import rayjob_of, to_yaml
from synth_ray.submit.values import values_in

HERE = Path(__file__).parent
JOB = HERE.parents[2] / "jobs" / "distill-gpu-s3.yaml"
COMMAND = "python infra/kuberay/sample/render.py"


def package() -> Package:
    """All that the job names is in the bucket: nothing of this folder is read."""
    return package_of(load_job(JOB), read_yaml(JOB)[0], JOB.parent, job_digest="5ab1e0c3" * 4)


def rendered() -> str:
    return to_yaml(rayjob_of(package(), load_job(JOB), values_in(HERE / "values.yaml")))


if __name__ == "__main__":
    (HERE / "rayjob.yaml").write_text(rendered())
