"""Presidio's phone recognizer with one scan for all its regions.

Law: the union of the spans that `phonenumbers.PhoneNumberMatcher` finds for each region. Each candidate is scanned once; a region
is tried only if the digits can be a number there.

Source: phonenumbers `PhoneNumberMatcher` (Apache-2.0); its private methods are used, so its source is checked by digest.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from synth_ray.scrub.findings import Finding
from synth_ray.scrub.text_view import TextView, seconds_left

_NEEDS_FULL_MATCHER = re.compile("[^\\d\\W]|[#~;\uff03\uff5e]")
"""Letters and signs that can begin an extension or stand for digits: the number may then differ from the digits of the text."""
_MIN_DIGITS = 4
_MAX_DIGITS = 20
"""A country code of 3 and a national number of 17 digits: the longest number that parses, without an extension."""


class Part(NamedTuple):
    """A piece of a candidate that may be a number. `digits` is None unless all its digits are ASCII and no extension is possible;
    `plus`: it has a plus sign.
    """

    text: str
    start: int
    digits: str | None
    plus: bool


RegionVerdict = tuple[int, int, bool] | None
"""The number that a region finds in a candidate: start, end, and whether no other region can find a different one."""


class _Candidate:
    """A stretch that the matcher would examine, with the results so far by region."""

    __slots__ = ("digits", "end", "is_final", "parts", "plain", "plus", "start", "text", "verdicts", "verified")

    def __init__(self, text: str, start: int, *, trimmed: bool) -> None:
        self.verdicts: dict[str, RegionVerdict] = {}
        self.text, self.start, self.end = text, start, start + len(text)
        self.digits = sum(map(str.isdigit, text))
        self.plus = "+" in text or "\uff0b" in text
        self.plain = not trimmed and len(text) <= 40
        self.parts: Sequence[Part] | None = None
        self.verified: dict[int, bool] = {}
        self.is_final = False


class Region:
    """The number formats of a region, as far as digits alone can tell."""

    def __init__(self, name: str) -> None:
        import phonenumbers as pn

        self.name = name
        code = pn.country_code_for_region(name)
        self._code = str(code)
        metadata: Any = pn.PhoneMetadata.metadata_for_region(name)
        same_code: list[Any] = [pn.PhoneMetadata.metadata_for_region(r) for r in pn.region_codes_for_country_code(code)]
        self.min_digits = min(8, *(m.general_desc.possible_length[0] for m in same_code))
        patterns = sorted({p for m in same_code for p in _patterns(m)})
        self._national = re.compile("|".join(f"(?:{p})" for p in patterns))
        self._idd = re.compile(metadata.international_prefix)
        prefixes = [metadata.national_prefix_for_parsing, *_CARRIERS.get(name, ())]
        self._prefixes = [re.compile(p) for p in prefixes if p]

    def may_be_valid(self, digits: str) -> bool:
        """False only if digits without a plus sign cannot be a valid number when parsed for this region."""
        if self._idd.match(digits):
            return True
        todo = [digits]
        if digits.startswith(self._code):
            todo.append(digits[len(self._code) :])
        seen = set(todo)
        while todo and len(seen) < 24:
            number = todo.pop()
            if self._national.fullmatch(number):
                return True
            for rest in self._stripped(number):
                if rest not in seen:
                    seen.add(rest)
                    todo.append(rest)
        return len(seen) >= 24

    def _stripped(self, number: str) -> Iterator[str]:
        for prefix in self._prefixes:
            m = prefix.match(number)
            if m and m.end():
                yield number[m.end() :]
                if m.lastindex and m.group(m.lastindex):
                    yield m.group(m.lastindex)


_CARRIERS = {"BR": ("(?:0|90)", r"(?:0|90)\d\d")}
"""Prefixes that a parse can strip in addition to the region's own pattern, whose groups are optional."""
_KINDS = (
    "premium_rate",
    "toll_free",
    "shared_cost",
    "voip",
    "personal_number",
    "pager",
    "uan",
    "voicemail",
    "fixed_line",
    "mobile",
)


def _patterns(metadata: Any) -> Iterator[str]:
    for kind in _KINDS:
        described = getattr(metadata, kind)
        if described is not None and described.national_number_pattern:
            yield described.national_number_pattern


class PhoneFinder:
    """`is_candidate` may reject a candidate, by the text and its start and end, before it is parsed; without it every candidate
    is tried.
    """

    def __init__(self, recognizer: Any, *, is_candidate: Callable[[str, int, int], bool] | None = None) -> None:
        self._is_candidate = is_candidate
        from phonenumbers import phonenumbermatcher

        self._pm: Any = phonenumbermatcher
        self._entity, self._score = recognizer.supported_entities[0], recognizer.SCORE
        self._leniency = recognizer.leniency
        self._matcher = phonenumbermatcher.PhoneNumberMatcher("", "US", leniency=recognizer.leniency)
        self._regions = [Region(name) for name in recognizer.supported_regions]

    def find(self, view: TextView, deadline: float) -> list[Finding]:
        """Findings in no particular order, without duplicates."""
        return [Finding(self._entity, start, end, self._score) for start, end in self._spans(view.text, deadline)]

    def _spans(self, text: str, deadline: float) -> set[tuple[int, int]]:
        candidates: dict[int, _Candidate | None] = {}
        shared_verdicts: dict[tuple[str, str, str], dict[str, RegionVerdict]] = {}
        spans: set[tuple[int, int]] = set()
        for region in self._regions:
            seconds_left(deadline)
            at, steps = 0, 0
            while True:
                if at not in candidates:
                    new = candidates[at] = self._candidate(text, at)
                    if new is not None:
                        neighbours = text[new.start - 1 : new.start] if new.start else "", text[new.end : new.end + 4]
                        new.verdicts = shared_verdicts.setdefault((new.text, *neighbours), new.verdicts)
                candidate = candidates[at]
                if candidate is None:
                    break
                at = self._check_region(candidate, region, text, spans)
                steps += 1
                if steps % 256 == 0:
                    seconds_left(deadline)
        return spans

    def _candidate(self, text: str, at: int) -> _Candidate | None:
        """The next candidate with enough digits for any number."""
        while m := self._pm._PATTERN.search(text, at):
            at = m.end()
            second = self._pm._SECOND_NUMBER_START_PATTERN.search(m[0]) if "x" in m[0] else None
            if second is None and at - m.start() < _MIN_DIGITS:
                continue
            candidate = _Candidate(m[0][: second.start()] if second else m[0], m.start(), trimmed=second is not None)
            if candidate.digits >= _MIN_DIGITS and (
                self._is_candidate is None or self._is_candidate(text, candidate.start, candidate.end)
            ):
                return candidate
            at = candidate.end
        return None

    def _check_region(self, c: _Candidate, region: Region, text: str, spans: set[tuple[int, int]]) -> int:
        """Add the number that a region finds in a candidate to `spans`; return the offset to search on from. Equal candidates
        share one parse.
        """
        if c.is_final or (c.digits < region.min_digits and not c.plus):
            return c.end
        if region.name not in c.verdicts:
            c.verdicts[region.name] = self._find_number(c, region, text)
        verdict = c.verdicts[region.name]
        if verdict is None:
            return c.end
        start, end, c.is_final = c.start + verdict[0], c.start + verdict[1], verdict[2]
        spans.add((start, end))
        return end

    def _find_number(self, c: _Candidate, region: Region, text: str) -> RegionVerdict:
        if c.parts is None:
            c.parts = self._parts(text, c.text, c.start)
        for number, part in enumerate(c.parts):
            if self._is_valid(c, number, part, region):
                start = part.start - c.start
                return start, start + len(part.text), c.plain and len(part.text) == len(c.text)
        return None

    def _is_valid(self, c: _Candidate, number: int, part: Part, region: Region) -> bool:
        if part.plus:
            if number not in c.verified:
                c.verified[number] = self._parses(part.text, region.name)
            return c.verified[number]
        if part.digits is not None and (len(part.digits) < region.min_digits or not region.may_be_valid(part.digits)):
            return False
        return self._parses(part.text, region.name)

    def _parses(self, text: str, region: str) -> bool:
        import phonenumbers as pn

        try:
            number = pn.parse(text, region, keep_raw_input=True)
        except pn.NumberParseException:
            return False
        return bool(self._pm._verify(self._leniency, number, text, self._matcher))

    def _parts(self, text: str, candidate: str, start: int) -> list[Part]:
        """The pieces that `_extract_match` would parse, in its order, without those that no region can parse."""
        pm = self._pm
        if pm._SLASH_SEPARATED_DATES.search(candidate):
            return []
        end = start + len(candidate)
        if pm._TIME_STAMPS.search(candidate) and pm._TIME_STAMPS_SUFFIX.match(text, end):
            return []
        seen: set[tuple[str, int]] = set()
        parts = []
        for piece in self._pieces(candidate, start):
            if piece not in seen:
                seen.add(piece)
                part = self._part(text, *piece)
                if part is not None:
                    parts.append(part)
        return parts

    def _pieces(self, candidate: str, start: int) -> Iterator[tuple[str, int]]:
        pm, trim = self._pm, self._matcher._trim_after_first_match
        yield candidate, start
        for inner in pm._INNER_MATCHES:
            m = inner.search(candidate)
            if m:
                yield trim(pm._UNWANTED_END_CHAR_PATTERN, candidate[: m.start()]), start
            while m:
                yield trim(pm._UNWANTED_END_CHAR_PATTERN, m.group(1)), start + m.start(1)
                m = inner.search(candidate, m.start() + 1)

    def _part(self, text: str, piece: str, start: int) -> Part | None:
        pm = self._pm
        count = sum(map(str.isdigit, piece))
        simple = not _NEEDS_FULL_MATCHER.search(piece)
        if count < _MIN_DIGITS or (simple and count > _MAX_DIGITS):
            return None
        if not pm.fullmatch(pm._MATCHING_BRACKETS, piece) or pm._PUB_PAGES.search(piece):
            return None
        end = start + len(piece)
        if start > 0 and not pm._LEAD_PATTERN.match(piece) and self._is_refused_neighbour(text[start - 1]):
            return None
        if end < len(text) and self._is_refused_neighbour(text[end]):
            return None
        digits = "".join(c for c in piece if "0" <= c <= "9")
        plain = simple and len(digits) == count
        return Part(piece, start, digits if plain else None, "+" in piece or "\uff0b" in piece)

    def _is_refused_neighbour(self, neighbour: str) -> bool:
        matcher = self._matcher
        return neighbour != " " and bool(matcher._is_invalid_punctuation_symbol(neighbour) or matcher._is_latin_letter(neighbour))
