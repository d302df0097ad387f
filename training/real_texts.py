"""Writes real English texts that every machine with Python has: what the documentation of its standard library says of a name.

    python training/real_texts.py out/real

`questions.jsonl` has names to ask about, `held_out.jsonl` other names with what people wrote about them. Fields: prompt, answer,
topic. The texts are under Python's licence (PSF-2.0); they are read where they are installed and not passed on.
"""

from __future__ import annotations

import importlib
import inspect
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path

TOPICS = {
    "numbers": "cmath decimal fractions math numbers random statistics",
    "dates": "calendar datetime time zoneinfo",
    "files": "fileinput fnmatch glob io linecache os os.path pathlib shutil stat tempfile",
    "archives": "bz2 gzip lzma tarfile zipfile zlib",
    "network": "email.message ftplib http.client http.cookies imaplib ipaddress nntplib poplib smtplib socket socketserver ssl urllib.request",
    "text": "csv configparser difflib gettext html json pprint re reprlib string textwrap unicodedata xml.dom.minidom",
    "containers": "bisect collections collections.abc copy enum functools heapq itertools operator queue types weakref",
    "concurrency": "asyncio concurrent.futures multiprocessing sched select selectors signal subprocess threading",
    "code": "ast code dis inspect importlib keyword logging pdb pickle pkgutil symtable tokenize trace traceback typing unittest",
}
HELD_OUT = 400
MIN_WORDS, MAX_WORDS = 8, 80


def main(folder: Path) -> None:
    rows = sorted(_documented(), key=lambda row: row["prompt"])
    random.Random(1).shuffle(rows)
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in (("held_out", rows[:HELD_OUT]), ("questions", rows[HELD_OUT:])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))


def _documented() -> Iterator[dict[str, str]]:
    """Every documented name of the topics' modules, each text once."""
    seen: set[str] = set()
    for topic, modules in TOPICS.items():
        for module in modules.split():
            for name, text in _texts_of(module):
                if text not in seen:
                    seen.add(text)
                    yield {"prompt": f"What does `{name}` of Python's standard library do?", "answer": text, "topic": topic}


def _texts_of(module: str) -> Iterator[tuple[str, str]]:
    try:
        names = vars(importlib.import_module(module))
    except ImportError:  # not part of every build of Python
        return
    for name, value in sorted(names.items()):
        if name.startswith("_") or getattr(value, "__module__", None) not in (module, f"_{module}", None):
            continue
        yield from _first_paragraph(f"{module}.{name}", value)
        if inspect.isclass(value):
            for member, method in sorted(vars(value).items()):
                if not member.startswith("_"):
                    yield from _first_paragraph(f"{module}.{name}.{member}", method)


def _first_paragraph(name: str, value: object) -> Iterator[tuple[str, str]]:
    text = " ".join((inspect.getdoc(value) or "").split("\n\n")[0].split()) if callable(value) else ""
    if text[:1].isalpha() and text.endswith(".") and MIN_WORDS <= len(text.split()) <= MAX_WORDS:
        yield name, text


if __name__ == "__main__":
    main(Path(sys.argv[1]))
