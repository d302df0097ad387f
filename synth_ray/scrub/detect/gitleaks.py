"""Secret rules from a file in the gitleaks TOML format: regex, secretGroup, entropy, keywords and allowlists."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synth_ray.errors import JobError, MissingResource
from synth_ray.scrub.detect.passwords import entropy
from synth_ray.scrub.findings import Finding
from synth_ray.scrub.text_view import TextView, seconds_left


@dataclass(frozen=True, slots=True)
class Allowlist:
    """Matches that are not secrets. `require_all`: regexes and stopwords must both match; else either is enough."""

    regexes: tuple[Any, ...]
    stopwords: tuple[str, ...]
    target: str
    require_all: bool

    def matches(self, *, secret: str, match: str, line: str) -> bool:
        target = {"match": match, "line": line}.get(self.target, secret)
        verdicts = []
        if self.regexes:
            verdicts.append(any(r.search(target) for r in self.regexes))
        if self.stopwords:
            verdicts.append(any(word in secret.lower() for word in self.stopwords))
        return bool(verdicts) and (all(verdicts) if self.require_all else any(verdicts))


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. Law: file paths play no part; a rule that has only a path and no regex is left out."""

    name: str
    regex: Any
    group: int
    bits: float
    keywords: tuple[str, ...]
    allowlists: tuple[Allowlist, ...]

    @property
    def gate(self) -> str | None:
        """The prefilter expression: any of the keywords. None if there are none or one is not ASCII; the rule then runs on every
        text.
        """
        is_gated = bool(self.keywords) and all(k.isascii() for k in self.keywords)
        return "|".join(re.escape(k) for k in self.keywords) if is_gated else None

    def find(self, view: TextView, deadline: float) -> Iterator[Finding]:
        seconds_left(deadline)
        for m in self.regex.finditer(view.data):
            group = self._group(m)
            start, end = m.span(group)
            secret = view.data[start:end].decode("utf-8", "replace")
            if not secret or (self.bits and entropy(secret) <= self.bits) or self._allowed(view.data, m, secret):
                continue
            yield Finding("SECRET", view.char_offset(start), view.char_offset(end), 0.9)

    def _group(self, m: Any) -> int:
        """The configured secretGroup, else the first non-empty group, else the whole match."""
        if self.group:
            return self.group
        return next((g for g in range(1, self.regex.groups + 1) if m.span(g)[0] >= 0 and m.span(g)[0] < m.span(g)[1]), 0)

    def _allowed(self, data: bytes, m: Any, secret: str) -> bool:
        if not self.allowlists:
            return False
        match = data[m.start() : m.end()].decode("utf-8", "replace")
        begin, end = data.rfind(b"\n", 0, m.start()) + 1, data.find(b"\n", m.end())
        line = data[begin : end if end >= 0 else len(data)].decode("utf-8", "replace")
        return any(a.matches(secret=secret, match=match, line=line) for a in self.allowlists)


def load_rules(file: str) -> list[Rule]:
    """The rules of a local file. Raises MissingResource if there is no such file, JobError if it is not in the format."""
    try:
        document = tomllib.loads(Path(file).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MissingResource(f"scrub.secrets.rules_file: wanted a local file, got none at '{file}'; check the path") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise _invalid_file(file, "a file in the gitleaks TOML format", type(error).__name__) from None
    if document.get("extend"):
        raise _invalid_file(file, "a file that stands alone", "one with [extend]")
    rules = document.get("rules")
    if not isinstance(rules, list) or not rules:
        raise _invalid_file(file, "[[rules]]", "none")
    try:
        shared = tuple(_allowlist(file, a) for a in _allowlists(document))
        compiled = [_rule(file, rule, shared) for rule in rules if rule.get("regex")]
    except (TypeError, ValueError, AttributeError):
        raise _invalid_file(file, "regex, secretGroup, entropy, keywords and allowlists of their types", "another type") from None
    if not compiled:
        raise _invalid_file(file, "a rule with a regex", f"{len(rules)} without")
    return compiled


def _invalid_file(file: str, wanted: str, got: str) -> JobError:
    return JobError(f"scrub.secrets.rules_file: {file}: wanted {wanted}, got {got}; repair the file or leave it out")


def _rule(file: str, rule: dict[str, Any], shared: Sequence[Allowlist]) -> Rule:
    name = str(rule.get("id", "rule"))
    regex = _compiled(file, name, rule["regex"])
    group = int(rule.get("secretGroup", 0))
    if group > regex.groups:
        raise _invalid_file(file, f"a secretGroup of rule '{name}' up to {regex.groups}", str(group))
    return Rule(
        name=name,
        regex=regex,
        group=group,
        bits=float(rule.get("entropy", 0)),
        keywords=tuple(str(k).lower() for k in rule.get("keywords", ())),
        allowlists=(*(_allowlist(file, a) for a in _allowlists(rule)), *shared),
    )


def _allowlists(rule: dict[str, Any]) -> list[dict[str, Any]]:
    single = [rule["allowlist"]] if isinstance(rule.get("allowlist"), dict) else []
    return [*single, *rule.get("allowlists", ())]


def _allowlist(file: str, allowlist: dict[str, Any]) -> Allowlist:
    return Allowlist(
        regexes=tuple(_compiled(file, "allowlist", r, text=True) for r in allowlist.get("regexes", ())),
        stopwords=tuple(str(w).lower() for w in allowlist.get("stopwords", ())),
        target=str(allowlist.get("regexTarget", "secret")),
        require_all=str(allowlist.get("condition", "OR")).upper() in ("AND", "&&") and not allowlist.get("paths"),
    )


def _compiled(file: str, name: str, regex: str, *, text: bool = False) -> Any:
    import re2

    options = re2.Options()
    options.log_errors = False
    options.max_mem = 64 << 20
    try:
        return re2.compile(regex if text else regex.encode(), options)
    except re2.error:
        raise _invalid_file(file, f"an RE2 expression in '{name}'", "another") from None
