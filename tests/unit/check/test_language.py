"""The language of an answer is told from its text, and only where the text is long and clear enough."""

from __future__ import annotations

import sys

import pytest

from synth_ray.check.language import open_language_check
from synth_ray.errors import JobError, MissingResource
from synth_ray.job.check import Check

TEXTS = {
    "en": ["Your order has left our store.", "The meeting starts at nine o'clock tomorrow."],
    "de": ["Ihre Bestellung ist unterwegs.", "Bitte senden Sie die Rechnung noch einmal."],
    "fr": ["Votre commande est en route.", "La réunion commence demain à neuf heures."],
    "es": ["Su pedido está en camino.", "La reunión empieza mañana a las nueve."],
    "it": ["Il tuo ordine è in viaggio.", "Per favore invia di nuovo la fattura."],
    "pl": ["Twoje zamówienie jest w drodze.", "Proszę wysłać fakturę ponownie."],
    "zh": ["您的订单已经发货，预计明天送达。"],
    "ja": ["ご注文の商品は本日発送されました。"],
    "ar": ["يبدأ الاجتماع غدا في التاسعة صباحا."],
}


@pytest.mark.parametrize("language", TEXTS)
def test_short_sentences_are_in_their_own_language_and_no_other(language: str) -> None:
    for other in TEXTS:
        is_other = open_language_check([other])
        assert [is_other(text) for text in TEXTS[language]] == [other != language] * len(TEXTS[language]), (language, other)


@pytest.mark.parametrize(
    "text",
    ["", "42", "OK", "Yes.", "12 + 7 = 19", "```python\nfor name in names:\n    print(name)\n```", "https://example.org/a"],
)
def test_what_is_in_no_language_is_in_every_one(text: str) -> None:
    assert not open_language_check(["de"])(text)


def test_several_languages_may_be_allowed() -> None:
    is_other = open_language_check(["en", "de"])
    assert [is_other(TEXTS[language][1]) for language in ("en", "de", "fr")] == [False, False, True]


def test_norwegian_is_not_taken_for_false() -> None:
    assert Check.model_validate({"language": [False, "en"]}).language == ["no", "en"]


def test_an_unknown_language_and_a_missing_package_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(JobError, match=r"check\.language.*ISO 639-1.*english"):
        open_language_check(["english"])
    monkeypatch.setitem(sys.modules, "py3langid.langid", None)
    with pytest.raises(MissingResource, match=r"synth-ray\[language\]"):
        open_language_check(["en"])
