"""One search through many texts: most texts of a chunk hold nothing of what is looked for, and a call for each costs more than
to look.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any


def compiled_union(expressions: Iterable[bytes], *, ignores_case: bool) -> Any:
    """One RE2 expression over bytes for any of these. `^` and `$` match at line breaks too: see `texts_matching`."""
    import re2

    options = re2.Options()
    options.case_sensitive = not ignores_case
    options.encoding = re2.Options.Encoding.LATIN1
    options.max_mem = 256 << 20
    options.never_capture = True
    return re2.compile(b"(?m)" + b"|".join(b"(?:%s)" % expression for expression in expressions), options)


def texts_matching(union: Any, texts: Sequence[bytes]) -> list[int]:
    """The places of the texts that may match a `compiled_union`, ascending.

    Law: a text that matches is among them. One that does not is only where a match goes over a line break, since texts are joined
    by such.
    """
    joined = b"\n" + b"\n".join(texts) + b"\n"
    starts = list(accumulate((len(text) + 1 for text in texts), initial=0))  # of the line break before each text
    found: list[int] = []
    at = 0
    while at < starts[-1] and (match := union.search(joined, at)) is not None and match.start() < starts[-1]:
        found.append(bisect_right(starts, match.start()) - 1)
        at = starts[found[-1] + 1]
    return found
