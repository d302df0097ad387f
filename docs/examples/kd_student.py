"""Trains a student on the files of `synth-ray export --format trl-distillation`: a collator, and the forward KL with a tail.

    synth-ray export out/distilled --format trl-distillation --to kd --student STUDENT
    python docs/examples/kd_student.py kd STUDENT out/student

`Collator` and `kd_loss` go into any trainer. In TRL:

    class Distilled(SFTTrainer):
        def compute_loss(self, model, inputs, return_outputs=False, **_):
            likely = {name: inputs.pop(name) for name in LIKELY}
            outputs = model(**inputs)
            loss = kd_loss(outputs.logits, **likely)
            return (loss, outputs) if return_outputs else loss
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch

LIKELY = ("places", "ids", "logprobs", "tail")


class Collator:
    """Rows to a batch: tokens padded to the longest row; the likeliest tokens of all answers' positions one after the other.

    `places` (2, N): row and position whose logits predict the token; `ids`, `logprobs` (N, k); `tail` (N,) the probability of all
    other tokens.
    """

    def __init__(self, k: int, pad: int = 0) -> None:
        self._k, self._pad = k, pad

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        longest = max(len(row["input_ids"]) for row in rows)
        tokens = torch.full((len(rows), longest), self._pad)
        mask = torch.zeros_like(tokens)
        for number, row in enumerate(rows):
            tokens[number, : len(row["input_ids"])] = torch.tensor(row["input_ids"])
            mask[number, : len(row["input_ids"])] = 1
        # the logits at a position predict the next token
        places = [(number, at - 1) for number, row in enumerate(rows) for at in range(row["answer_start"], len(row["input_ids"]))]
        flat = {name: torch.tensor([value for row in rows for value in row[name]]) for name in ("top_k_ids", "top_k_logprobs")}
        return {
            "input_ids": tokens,
            "attention_mask": mask,
            "places": torch.tensor(places).T,
            "ids": flat["top_k_ids"].view(-1, self._k),
            "logprobs": flat["top_k_logprobs"].float().view(-1, self._k),
            "tail": torch.tensor([value for row in rows for value in row["tail_mass"]]).float(),
        }


def kd_loss(
    logits: torch.Tensor, places: torch.Tensor, ids: torch.Tensor, logprobs: torch.Tensor, tail: torch.Tensor
) -> torch.Tensor:
    """The mean forward KL of the teacher from the student over positions, in nats, of k + 1 outcomes: k tokens or any other.

    It is the true KL where the teacher's other tokens are as likely relative to each other as the student's, and never above it.
    """
    student = torch.log_softmax(logits[places[0], places[1]].float(), dim=-1)
    inside = student.gather(1, ids)
    outside = torch.log((1 - inside.exp().sum(1)).clamp(min=1e-7))
    tail = tail.clamp(min=1e-7)
    known = (logprobs.exp() * (logprobs - inside)).sum(1)
    return (known + tail * (tail.log() - outside)).mean()


def main(folder: str, student: str, out: str, steps: int = 100) -> None:
    import datasets
    from transformers import AutoModelForCausalLM, AutoTokenizer

    facts = json.loads((Path(folder) / "distillation.json").read_text())
    rows = datasets.load_dataset("parquet", data_files=str(Path(folder) / "train.parquet"), split="train")
    model = AutoModelForCausalLM.from_pretrained(student, dtype=torch.float32)
    if (size := model.get_output_embeddings().weight.shape[0]) < facts["tokenizer"]["vocabulary"]:
        raise SystemExit(f"wanted a student of at least {facts['tokenizer']['vocabulary']} tokens, got {size}")
    tokenizer = AutoTokenizer.from_pretrained(student)
    loader = torch.utils.data.DataLoader(
        rows, batch_size=8, shuffle=True, collate_fn=Collator(facts["k"], tokenizer.pad_token_id or 0)
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    step = 0
    while step < steps:
        for batch in loader:
            likely = {name: batch.pop(name) for name in LIKELY}
            loss = kd_loss(model(**batch).logits, **likely)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            step += 1
            print(f"step {step}  loss {loss.item():.4f}")
            if step == steps:
                break
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


if __name__ == "__main__":
    main(*sys.argv[1:4])
