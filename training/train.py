"""Train the tiny teacher: tokenizer and model, from the grammar alone.

    python training/train.py --out models/tiny-teacher --steps 3668

Everything is drawn from SEED. About 17 minutes on two CPU cores; --minutes trains for a time instead of a number of steps.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from grammar import chat
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

SEED = 20260101
VOCABULARY = 2048
PATTERN = Regex(r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")
SPECIAL = ["<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>\n{{ message.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


def make_tokenizer() -> Tokenizer:
    """Byte-level BPE: any text round-trips, and it loads into tiktoken. Digits are split, which arithmetic likes."""
    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(PATTERN, behavior="isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    draw = random.Random(SEED)
    texts = (part for _ in range(20_000) for part in chat(draw))
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def config() -> LlamaConfig:
    return LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=256,
        intermediate_size=704,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        max_position_embeddings=1024,
        rope_theta=10000.0,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=0,
        pad_token_id=0,
    )


def batches(tokenizer: Tokenizer, *, rows: int, length: int) -> Iterator[torch.Tensor]:
    """Endless packed rows of fresh examples."""
    draw = random.Random(SEED + 1)
    buffer: list[int] = []
    while True:
        while len(buffer) < rows * length + 1:
            asked, said = chat(draw)
            text = f"<|user|>\n{asked}<|end|>\n<|assistant|>\n{said}<|end|>\n"
            buffer += tokenizer.encode(text).ids
        yield torch.tensor(buffer[: rows * length + 1])
        buffer = buffer[rows * length :]


def train(model: LlamaForCausalLM, tokenizer: Tokenizer, *, minutes: float, steps: int | None) -> dict[str, float]:
    rows, length, peak = 8, 256, 2.5e-3
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak, weight_decay=0.05, betas=(0.9, 0.98), fused=True)
    began, step, loss_value = time.monotonic(), 0, 0.0
    for flat in batches(tokenizer, rows=rows, length=length):
        share = step / steps if steps else (time.monotonic() - began) / (60 * minutes)
        if share >= 1:
            break
        rate = peak * min(1.0, (step + 1) / 100) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * share)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        inputs, targets = flat[:-1].view(rows, length), flat[1:].view(rows, length)
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(input_ids=inputs).logits
        loss = torch.nn.functional.cross_entropy(logits.float().view(-1, VOCABULARY), targets.reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        loss_value = 0.98 * loss_value + 0.02 * loss.item() if step else loss.item()
        step += 1
        if step % 50 == 0:
            spent = time.monotonic() - began
            print(f"step {step} loss {loss_value:.3f} tokens/s {step * rows * length / spent:.0f} {share:.0%}", flush=True)
    return {"steps": step, "loss": round(loss_value, 3), "tokens": step * rows * length}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--steps", type=int)
    arguments = parser.parse_args()
    torch.manual_seed(SEED)
    tokenizer = make_tokenizer()
    model = LlamaForCausalLM(config())
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters", flush=True)
    told = train(model, tokenizer, minutes=arguments.minutes, steps=arguments.steps)
    save(model, tokenizer, arguments.out)
    print(json.dumps(told))


def save(model: LlamaForCausalLM, tokenizer: Tokenizer, out: Path) -> None:
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>", pad_token="<|end|>")
    wrapped.chat_template = TEMPLATE
    wrapped.save_pretrained(out)
    model.to(torch.bfloat16).save_pretrained(out)


if __name__ == "__main__":
    main()
