"""Planted truth: of 200 supported answers at most 10 are flagged, and of 34 unsupported ones of each kind at most 1 is missed."""

from __future__ import annotations

import random
from typing import NamedTuple

import pytest

from synth_ray.check.checker import open_checker
from synth_ray.check.grounded import unsupported
from synth_ray.job.check import Check
from tests.unit.check.test_checker import check_rows

PEOPLE = ["Adaeze", "Bjorn", "Carmela", "Dmitri", "Elowen", "Farouk", "Greta", "Hiroshi", "Ingrid", "Joaquin"]
PLACES = ["Lisbon", "Tromso", "Valencia", "Kingsport", "Nagoya", "Marrakesh", "Eastbury", "Galway", "Bruges", "Cusco"]
THINGS = ["bridge", "library", "turbine", "orchard", "ferry", "museum", "tunnel", "lighthouse", "reservoir", "observatory"]


class Fact(NamedTuple):
    """A sentence, a question, and answers in other words than the sentence's."""

    sentence: str
    question: str
    answers: tuple[str, ...]


FACTS = (
    Fact(
        "The {thing} in {place} was finished in {year} after {n} years of work.",
        "When was the {thing} in {place} finished?",
        ("It was finished in {year}.", "In {year}, after {n} years.", "The {thing} was finished in {year}."),
    ),
    Fact(
        "{person} directed the {thing} of {place} and hired {n} engineers.",
        "How many engineers did {person} hire?",
        ("{person} hired {n} engineers.", "{n}", "{n} engineers were hired by {person}, who directed the {thing}."),
    ),
    Fact(
        "Visitors may enter the {thing} without a ticket on Mondays, but pay {n} euros on every other day.",
        "What does a visit to the {thing} cost on other days?",
        ("A visit costs {n} euros on other days.", "{n} euros.", "Visitors pay {n} euros."),
    ),
    Fact(
        "The council of {place} did not approve the plan that {person} had drawn for the {thing}.",
        "Did the council of {place} approve the plan?",
        ("No, it was not approved.", "The council did not approve the plan of {person}.", "It didn't approve it."),
    ),
    Fact(
        "In winter the {thing} near {place} loses about {n} percent of its water to the river.",
        "How much water does the {thing} lose in winter?",
        ("It loses about {n} percent.", "About {n} percent of the water goes to the river.", "{n} percent in winter."),
    ),
)
NEGATED = {" was ": " was not ", " were ": " were not ", " may ": " may not ", " did not ": " did ", " loses ": " never loses "}
INVENTED = " It also won a national prize for its careful restoration of medieval stonework."
OFF_TOPIC = "Photosynthesis turns carbon dioxide into sugar inside the chloroplasts of green leaves."


class Case(NamedTuple):
    passage: str
    question: str
    quote: str
    answer: str


def cases(kind: str, wanted: int, seed: int) -> list[Case]:
    """`wanted` cases of one kind. Every second one has no quote: then the whole passage must support the answer."""
    draw, results = random.Random(f"{kind}-{seed}"), []
    while len(results) < wanted:
        people, places, things = (draw.sample(words, len(FACTS)) for words in (PEOPLE, PLACES, THINGS))
        filled = [
            {"person": p, "place": q, "thing": t, "n": draw.randint(2, 48), "year": draw.randint(1801, 1999)}
            for p, q, t in zip(people, places, things, strict=True)
        ]
        sentences = [fact.sentence.format(**names) for fact, names in zip(FACTS, filled, strict=True)]
        at = draw.randrange(len(FACTS))
        answer = falsified(kind, draw.choice(FACTS[at].answers).format(**filled[at]), sentences[at], filled, at, draw)
        if answer is None:
            continue
        quote = sentences[at] if len(results) % 2 or kind == "distractor" else ""
        results.append(Case(" ".join(sentences), FACTS[at].question.format(**filled[at]), quote, answer))
    return results


def falsified(kind: str, answer: str, sentence: str, filled: list[dict[str, object]], at: int, draw: random.Random) -> str | None:
    """The answer falsified as `kind` says, or None where that is impossible."""
    here, other = filled[at], filled[(at + 1) % len(filled)]
    match kind:
        case "supported":
            return answer
        case "number":
            return next(
                (answer.replace(str(here[k]), str(int(str(here[k])) + 2117)) for k in ("year", "n") if str(here[k]) in answer),
                None,
            )
        case "name":
            outside = draw.choice(["Ravenna", "Szeged", "Beatrix", "Oluwaseun"])
            return f"{answer.rstrip('.')} according to {outside}."
        case "distractor":
            return (
                answer.replace(str(here["n"]), str(other["n"])) if str(here["n"]) in answer and here["n"] != other["n"] else None
            )
        case "negated":
            return next((sentence.replace(old, new, 1) for old, new in NEGATED.items() if old in sentence), None)
        case "invented":
            return answer + INVENTED
    return OFF_TOPIC


def verdict(case: Case) -> str:
    return unsupported(case.answer, case.passage, question=case.question, quote=case.quote)


def test_supported_answers_pass() -> None:
    false = [case for case in cases("supported", 200, 1) if verdict(case)]
    assert len(false) <= 10, [(verdict(c), c.answer) for c in false]


@pytest.mark.parametrize("kind", ["number", "name", "distractor", "negated", "invented", "off topic"])
def test_unsupported_answers_are_caught(kind: str) -> None:
    missed = [case for case in cases(kind, 34, 2) if not verdict(case)]
    assert len(missed) <= 1, [(c.quote, c.answer) for c in missed]


def test_a_quote_that_is_not_in_the_passage_supports_nothing() -> None:
    passage = "The ferry leaves at nine. It takes two hours."
    assert unsupported("At nine.", passage, quote="the FERRY leaves at nine") == ""
    assert unsupported("At ten.", passage, quote="The ferry leaves at ten.") == "quote"


def test_an_ungrounded_completion_is_not_true() -> None:
    rows = [
        {"prompt": "When does it leave?", "completion": text, "fields": '{"passage":"The ferry leaves at nine."}'}
        for text in ("It leaves at nine.", "It leaves at ten, from pier 4.")
    ]
    assert open_checker(Check(verify="grounded"))
    assert [row["reason"] for row in check_rows(Check(verify="grounded"), *rows)] == [None, "not_true"]
