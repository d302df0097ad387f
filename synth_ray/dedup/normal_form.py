"""The normal form: the words of a text, in order. Two texts with the same normal form are identical, whatever their length.

Punctuation and spacing are left out, with three exceptions, since they change what a text says:

- an operator is a word, each of its characters one, where it works on an operand of its line (`_is_operator`);
- in code the beginning of a line is a word, which holds the line's indentation (`_Lines`);
- in a field without any other word every visible character is a word.

This is the definition; `reading_kernels` gives the same values, compiled.
"""

from __future__ import annotations

import re
from itertools import chain, pairwise

from synth_ray.dedup.normalise import FIELD, SINGLE, WORD, canonical_text, char_classes

LINE = "\n"
"""The first character of the word that stands for the beginning of a line in code."""
LINE_CENTRE, WIDEST = 64, 63
"""Its second character: LINE_CENTRE + columns relative to the field's margin, at most WIDEST to either side."""
TAB_COLUMNS = 8
OPERATORS = "!#%&*+-/<=>^|~"
CLOSING, OPENING = ")]}", "([{"
FENCES = ("```", "~~~")

_WORD_OR_SINGLE = re.compile(f"{WORD}+|{SINGLE}")
_RUN = re.compile(f"[{re.escape(OPERATORS)}]+")
_BLANK = " \t"


def normal_form(text: str) -> list[list[str]]:
    """The words of each compared field."""
    return [_words_of_field(field) for field in canonical_text(text).split(FIELD)]


def words(text: str) -> list[str]:
    """The words of all fields, without the beginnings of lines: for n-grams, which code must not escape by its indentation."""
    return [word for word in chain.from_iterable(normal_form(text)) if not word.startswith(LINE)]


def _words_of_field(field: str) -> list[str]:
    spans = [found.span() for found in _WORD_OR_SINGLE.finditer(char_classes(field))]
    if not spans:
        return [character for character in field if character not in _BLANK + LINE]
    bounds = [(0, 0), *spans, (len(field), len(field))]
    lines, found = _Lines(), []
    for (start, end), (next_start, next_end) in pairwise(bounds):
        left, gap, right = field[start:end], field[end:next_start], field[next_start:next_end]
        found += [*_words_of_gap(gap, left, right, lines), right]
    return found[:-1]  # what is right of the last gap is the end of the field


def _words_of_gap(gap: str, left: str, right: str, lines: _Lines) -> list[str]:
    """The words between two words. Either may be missing, at an end of the field."""
    first, *others = gap.split(LINE)
    mark = lines.mark(others if left else [first, *others], right)
    if not others:
        return [*mark, *_operators(first, left, right)]
    return [*_operators(first, left, ""), *mark, *_operators(others[-1], "", right)]


def _operators(part: str, left: str, right: str) -> list[str]:
    """The operators in the part of a gap that is on one line; `left` and `right` are the operands on that line."""
    runs = (found for found in _RUN.finditer(part) if _is_operator(part, *found.span(), left, right))
    return [character for found in runs for character in found[0]]


def _is_operator(part: str, start: int, end: int, left: str, right: str) -> bool:
    """Whether the run of characters works on an operand, and so is no punctuation.

    Between two operands: with a space on both sides or on neither; a minus, which is also a hyphen and a dash, only between
    numbers and single letters, where spacing says nothing. Behind an operand: + and # (C++, C#), and % behind a digit. Before
    one: a sign or a comparison before a digit; ! and ++.
    """
    run = part[start:end]
    beside_left = bool(left) if start == 0 else part[start - 1] in CLOSING
    beside_right = bool(right) if end == len(part) else part[end] in OPENING
    apart_left = not left if start == 0 else part[start - 1] in _BLANK
    apart_right = not right if end == len(part) else part[end] in _BLANK
    if left and right and run.strip("!#"):
        is_even = (beside_left and beside_right) or (apart_left and apart_right)
        if (_is_short(left) and _is_short(right)) or (is_even and run.strip("-")):
            return True
    if left and start == 0 and (run[0] in "+#" or (run[0] == "%" and _is_digit(left[-1]))):
        return True
    if not right or end != len(part) or beside_left:
        return False
    return (run[-1] in "-<=>" and _is_digit(right[0])) or run[-1] == "!" or (len(run) > 1 and not run.strip("+"))


def _is_short(operand: str) -> bool:
    """A number, or one ASCII letter."""
    return _is_digit(operand[0]) or (len(operand) == 1 and operand.isascii())


def _is_digit(character: str) -> bool:
    return "0" <= character <= "9"


class _Lines:
    """Where the lines of a field begin.

    Code is what lies between fences, and every line that is indented otherwise than the field's margin, with the line behind it.
    The margin is the indentation of the first line, or of the second if that is less, as in a paragraph. Lines without a word do
    not count.
    """

    def __init__(self) -> None:
        self._lines = self._margin = self._before = 0
        self._is_fenced = False

    def mark(self, lines: list[str], right: str) -> list[str]:
        """The beginning of the line whose first word is `right`, if it is in code. `lines` begin in the gap before that word."""
        for line in lines:
            self._is_fenced ^= line.lstrip(_BLANK)[:3] in FENCES
        if not lines or not right:
            return []
        columns = _columns(lines[-1])
        if self._lines == 0 or (self._lines == 1 and columns < self._margin):
            self._margin = self._before = columns
        is_code = self._is_fenced or columns != self._margin or self._before != self._margin
        self._before = columns
        self._lines += 1
        relative = max(-WIDEST, min(WIDEST, columns - self._margin))
        return [LINE + chr(LINE_CENTRE + relative)] if is_code and self._lines > 1 else []


def _columns(line: str) -> int:
    """The columns of blanks that a line begins with."""
    columns = 0
    for character in line:
        if character not in _BLANK:
            break
        columns = columns + 1 if character == " " else (columns // TAB_COLUMNS + 1) * TAB_COLUMNS
    return columns
