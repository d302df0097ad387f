"""Train a tiny model: tokenizer and weights, from the grammar alone.

    python training/train.py --model teacher --out models/tiny-teacher --steps 3668
    python training/train.py --model thinker --out models/tiny-thinker --steps 4000

Everything is drawn from SEED. About 20 minutes on two CPU cores; --minutes trains for a time instead of a number of steps.
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
from corpora import CORPORA, Corpus
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

SEED = 20260101
VOCABULARY = 2048
NOT_LEARNED = -100


def make_tokenizer(corpus: Corpus) -> Tokenizer:
    """Byte-level BPE: any text round-trips, and it loads into tiktoken. Digits are split, which arithmetic likes."""
    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(corpus.pattern, behavior="isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    draw = random.Random(SEED)
    texts = (part for _ in range(20_000) for part in corpus.parts(draw))
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(corpus.added),
        special_tokens=list(corpus.special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in corpus.added])
    return tokenizer


def config(corpus: Corpus, tokenizer: Tokenizer) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=256,
        intermediate_size=704,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        max_position_embeddings=corpus.context,
        rope_theta=10000.0,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.token_to_id(corpus.end),
        pad_token_id=0,
    )


def examples(corpus: Corpus, tokenizer: Tokenizer) -> Iterator[tuple[list[int], list[int]]]:
    """Token ids of endless fresh examples, and the same as targets: what the template writes, not the model, is not learned."""
    draw = random.Random(SEED + 1)
    while True:
        text = corpus.text(draw)
        encoded = tokenizer.encode(text)
        given = corpus.given(text)
        ids = encoded.ids
        learned = [
            NOT_LEARNED if any(low <= begin < high for low, high in given) else token
            for token, (begin, _) in zip(ids, encoded.offsets, strict=True)
        ]
        yield ids, learned


def tokens(corpus: Corpus, tokenizer: Tokenizer) -> Iterator[tuple[list[int], list[int]]]:
    """Examples to be packed one after another; where the corpus says so, cut so that every row begins with a new one."""
    if not corpus.rows_begin_anew:
        yield from examples(corpus, tokenizer)
    ids: list[int] = []
    learned: list[int] = []
    for more, more_learned in examples(corpus, tokenizer):
        ids, learned = ids + more, learned + more_learned
        if len(ids) >= corpus.length:
            yield ids[: corpus.length], [NOT_LEARNED, *learned[1 : corpus.length]]
            ids, learned = [], []


def batches(corpus: Corpus, tokenizer: Tokenizer) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Inputs and targets, each [rows, length]."""
    size = corpus.rows * corpus.length
    ids: list[int] = []
    learned: list[int] = []
    for more, more_learned in tokens(corpus, tokenizer):
        ids += more
        learned += more_learned
        while len(ids) > size:
            shape = (corpus.rows, corpus.length)
            yield torch.tensor(ids[:size]).view(shape), torch.tensor(learned[1 : size + 1]).view(shape)
            ids, learned = ids[size:], learned[size:]


def train(
    model: LlamaForCausalLM, corpus: Corpus, tokenizer: Tokenizer, *, minutes: float, steps: int | None
) -> dict[str, float]:
    peak, size = corpus.peak, corpus.rows * corpus.length
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak, weight_decay=0.05, betas=(0.9, 0.98), fused=True)
    began, step, loss_value = time.monotonic(), 0, 0.0
    for inputs, targets in batches(corpus, tokenizer):
        share = step / steps if steps else (time.monotonic() - began) / (60 * minutes)
        if share >= 1:
            break
        rate = peak * min(1.0, (step + 1) / 100) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * share)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(input_ids=inputs).logits
        loss = torch.nn.functional.cross_entropy(
            logits.float().view(-1, VOCABULARY), targets.reshape(-1), ignore_index=NOT_LEARNED
        )
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        loss_value = 0.98 * loss_value + 0.02 * loss.item() if step else loss.item()
        step += 1
        if step % 50 == 0:
            spent = time.monotonic() - began
            print(f"step {step} loss {loss_value:.3f} tokens/s {step * size / spent:.0f} {share:.0%}", flush=True)
    return {"steps": step, "loss": round(loss_value, 3), "tokens": step * size}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=sorted(CORPORA), default="teacher")
    parser.add_argument("--start", type=Path, help="a folder this wrote, to train on from there")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--steps", type=int)
    arguments = parser.parse_args()
    corpus = CORPORA[arguments.model]
    torch.manual_seed(SEED)
    if arguments.start:
        tokenizer = Tokenizer.from_file(str(arguments.start / "tokenizer.json"))
        model = LlamaForCausalLM.from_pretrained(arguments.start, dtype=torch.float32)
    else:
        tokenizer = make_tokenizer(corpus)
        model = LlamaForCausalLM(config(corpus, tokenizer))
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters", flush=True)
    told = train(model, corpus, tokenizer, minutes=arguments.minutes, steps=arguments.steps)
    save(model, corpus, tokenizer, arguments.out)
    print(json.dumps(told))


def save(model: LlamaForCausalLM, corpus: Corpus, tokenizer: Tokenizer, out: Path) -> None:
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=corpus.end, pad_token=corpus.special[0])
    wrapped.chat_template = corpus.template
    wrapped.save_pretrained(out)
    model.to(torch.bfloat16).save_pretrained(out)


if __name__ == "__main__":
    main()
