"""`synth-ray init`: writes a job and a few seeds to start from."""

from __future__ import annotations

import argparse
from pathlib import Path

from synth_ray.errors import JobError

_JOB = """\
# A first job. `synth-ray check job.yaml` says what is wrong, `preview` shows the first prompts, `run` makes the dataset.
name: my-first-dataset
seeds:
  path: seeds.jsonl            # also CSV, Parquet, JSON arrays, s3://…
recipe: distill                # one prompt, one answer; `vary` makes new prompts first
models:
  teacher:
    model: Qwen/Qwen3-8B       # any model vLLM serves, or a local folder
    revision: main
sampling:
  temperature: 0.8
  max_tokens: 512
split:
  allow_synthetic_only_eval: true   # better: name real rows under split.real
output:
  path: out/my-first-dataset   # or s3://bucket/prefix
"""

_SEEDS = """\
{"prompt": "Explain to a new colleague why backups must be restored once in a while."}
{"prompt": "Write a short, polite reply to a customer whose parcel is two days late."}
{"prompt": "A train leaves at 9:40 and arrives at 12:05. How long is the journey?"}
"""


def main(arguments: argparse.Namespace) -> int:
    folder = Path(arguments.folder)
    files = {folder / "job.yaml": _JOB, folder / "seeds.jsonl": _SEEDS}
    existing = [str(path) for path in files if path.exists()]
    if existing:
        raise JobError(f"init: wanted an empty place, got {', '.join(existing)}; give another folder")
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")
        print(path)
    return 0
