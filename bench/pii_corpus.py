"""Values for labelled texts: personal identifiers and secrets.

Every value is drawn from the seed and belongs to no known person; check digits are valid where the identifier has them.
"""

from __future__ import annotations

import base64
import hashlib
import json
import random
import string
from collections.abc import Callable
from dataclasses import dataclass, field

import phonenumbers

from synth_ray.scrub.detect.ibans import LENGTHS

ALNUM = string.ascii_letters + string.digits
URLSAFE = ALNUM + "-_"
HEX = "0123456789abcdef"
BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
GIVEN = "ada ben chiara diego emeka fatima grace hiro ines jonas kavya liam mei nadia omar pablo ruth sven tara yusuf".split()
FAMILY = "adeyemi becker costa dupont eriksen fischer gupta hansen ito jansen kowalski lopez moretti nguyen oneill park".split()
DOMAINS = (
    "gmail.com hotmail.co.uk gmx.de orange.fr fastmail.com icloud.com libero.it zoho.in mail.ru kth.se nhs.net bluefin.co".split()
)
REGIONS = "US US US CA GB GB DE FR IN AU ES IT NL BR JP SG ZA MX CN KR PL SE CH IE NZ".split()


@dataclass
class Sample:
    """A text, the spans of its planted values, and the spans of traps: values that only look personal."""

    text: str = ""
    spans: list[tuple[int, int, str]] = field(default_factory=list)
    traps: list[tuple[int, int, str]] = field(default_factory=list)

    def add(self, template: str, value: str, kind: str, *, trap: bool = False) -> None:
        before, after = template.split("{}", 1)
        start = len(self.text) + len(before)
        (self.traps if trap else self.spans).append((start, start + len(value), kind))
        self.text += before + value + after


class Values:
    def __init__(self, draw: random.Random) -> None:
        self.r = draw

    def s(self, alphabet: str, n: int) -> str:
        return "".join(self.r.choices(alphabet, k=n))

    def d(self, n: int) -> str:
        return self.s(string.digits, n)

    def email(self) -> tuple[str, str]:
        r = self.r
        a, b, domain = r.choice(GIVEN), r.choice(FAMILY), r.choice(DOMAINS)
        user = r.choice(
            [f"{a}.{b}", f"{a}{r.randint(50, 99)}", f"{a[0]}.{b}", f"{b}_{a}", f"{a}-{b}", f"{a}.{b}+{r.choice(GIVEN)}"]
        )
        dotted = domain.replace(".", " dot ")
        written = r.choice(
            [f"{user}@{domain}"] * 8
            + [
                f"{user}(at){domain}",
                f"{user} [at] {domain}",
                f"{user} {{at}} {domain.replace('.', ' {dot} ')}",
                f"{user}@ {domain}",
            ]
            + [f"{user} at {dotted}", f"{user}@{domain}".title(), f"{user}@mail.{domain}"]
        )
        return written, "EMAIL_ADDRESS"

    def phone(self) -> tuple[str, str]:
        r, region = self.r, self.r.choice(REGIONS)
        kind = r.choice([phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE])
        number = self._number(region, kind)
        international = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.INTERNATIONAL)
        if r.random() < 0.5:
            return r.choice(
                [international, international.replace(" ", ""), international.replace(" ", "-"), international.replace(" ", ".")]
            ), "PHONE_ABROAD"
        national = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.NATIONAL)
        return r.choice([national, national, national.replace(" ", "."), national.replace(" ", "-")]), "PHONE_HOME"

    def _number(self, region: str, kind: int) -> phonenumbers.PhoneNumber:
        example = phonenumbers.example_number_for_type(region, kind) or phonenumbers.example_number(region)
        digits = phonenumbers.national_significant_number(example)
        while True:
            cut = self.r.randint(4, len(digits) - 3)
            number = phonenumbers.parse(f"+{example.country_code}{digits[:-cut]}{self.d(cut)}")
            if phonenumbers.is_valid_number_for_region(number, region):
                return number

    def card(self) -> tuple[str, str]:
        r = self.r
        begin, n = r.choice(
            [("4", 16), ("4", 13), ("5", 16), ("2", 16), ("3", 15), ("6", 16), ("3541", 16), ("36", 14), ("62", 19), ("63", 18)]
        )
        begin = {"5": f"5{r.randint(1, 5)}", "2": str(r.randint(2221, 2720)), "3": r.choice(["34", "37"]), "6": "6011"}.get(
            begin, begin
        )
        digits = with_luhn(begin + self.d(n - 1 - len(begin)))
        cuts = {15: (4, 10), 14: (4, 10)}.get(n, (4, 8, 12, 16))
        between = r.choice(["", " ", "-"]) if n >= 14 else ""
        return between.join(part for part in cut_at(digits, cuts) if part), "CREDIT_CARD"

    def iban(self) -> tuple[str, str]:
        country = self.r.choice("DE FR ES IT NL PL SE CZ RO PT BE CH AT GB IE NO DK FI TR SA".split())
        n = LENGTHS[country] - 4
        bban = (self.s(string.ascii_uppercase, 4) + self.d(n - 4)) if country in ("GB", "NL", "IE", "RO") else self.d(n)
        check = 98 - int("".join(str(int(c, 36)) for c in f"{bban}{country}00")) % 97
        iban = f"{country}{check:02d}{bban}"
        grouped = " ".join(iban[i : i + 4] for i in range(0, len(iban), 4))
        return self.r.choice([iban, grouped, grouped, grouped.replace(" ", "-"), iban.lower()]), "IBAN_CODE"

    def ssn(self) -> tuple[str, str]:
        r = self.r
        parts = f"{r.choice([n for n in range(1, 900) if n != 666]):03d}", f"{r.randint(1, 99):02d}", f"{r.randint(1, 9999):04d}"
        return r.choice(["-", "-", " ", ""]).join(parts), "US_SSN"

    def ip(self) -> tuple[str, str]:
        r = self.r
        if r.random() < 0.3:
            groups = [f"{r.randint(1, 65535):x}" for _ in range(6)]
            rest = r.choice([":".join(groups) + ":1", ":".join(groups[:3]) + "::" + groups[5]])
            return r.choice(["2a01:", "2607:", "2404:"]) + rest, "IP_ADDRESS"
        first = r.choice([8, 31, 45, 62, 77, 91, 109, 146, 176, 194, 212])
        return f"{first}.{r.randint(0, 255)}.{r.randint(0, 255)}.{r.randint(1, 254)}", "IP_ADDRESS"

    def mac(self) -> tuple[str, str]:
        between = self.r.choice([":", "-"])
        return between.join(self.s(self.r.choice([HEX]), 2) for _ in range(6)), "MAC_ADDRESS"

    def wallet(self) -> tuple[str, str]:
        if self.r.random() < 0.5:
            return "0x" + self.s("0123456789abcdefABCDEF", 40), "CRYPTO"
        return base58check(bytes([self.r.choice([0, 5, 0x30, 0x41])]) + self.r.randbytes(20)), "CRYPTO"

    def itin(self) -> tuple[str, str]:
        return f"9{self.d(2)}-{self.r.choice([71, 76, 83, 90, 94])}-{self.d(4)}", "US_ITIN"

    def passport(self) -> tuple[str, str]:
        return self.r.choice([self.d(9), self.s(string.ascii_uppercase, 1) + self.d(8)]), "US_PASSPORT"

    def bank(self) -> tuple[str, str]:
        return self.d(self.r.choice([9, 10, 11, 12])), "US_BANK_NUMBER"

    def licence(self) -> tuple[str, str]:
        return self.s(string.ascii_uppercase, 1) + self.d(self.r.choice([7, 8])), "US_DRIVER_LICENSE"

    def nhs(self) -> tuple[str, str]:
        while True:
            digits = self.d(9)
            check = 11 - sum(int(c) * (10 - i) for i, c in enumerate(digits)) % 11
            if check < 10 or check == 11:
                with_check_digit = digits + str(check % 11)
                return f"{with_check_digit[:3]} {with_check_digit[3:6]} {with_check_digit[6:]}", "UK_NHS"

    def token(self) -> tuple[str, str]:
        make: list[Callable[[], str]] = [
            lambda: self.r.choice(["AKIA", "ASIA"]) + self.s(string.ascii_uppercase + "234567", 16),
            lambda: self.r.choice(["ghp_", "ghs_", "gho_"]) + self.s(ALNUM, 36),
            lambda: "glpat-" + self.s(URLSAFE, 20),
            lambda: f"xoxp-{self.d(11)}-{self.d(11)}-{self.s(HEX, 32)}",
            lambda: self.r.choice(["sk_live_", "rk_live_", "sk_test_"]) + self.s(ALNUM, 24),
            lambda: "sk-proj-" + self.s(URLSAFE, 48),
            lambda: "AIza" + self.s(URLSAFE, 35),
            lambda: "hf_" + self.s(string.ascii_letters, 34),
            lambda: "npm_" + self.s(ALNUM, 36),
            lambda: "SG." + self.s(URLSAFE, 22) + "." + self.s(URLSAFE, 43),
            lambda: "dop_v1_" + self.s(HEX, 64),
            lambda: ".".join(
                [encoded({"alg": "RS256", "typ": "JWT"}), encoded({"sub": self.d(8), "exp": 17000}), self.s(URLSAFE, 64)]
            ),
        ]
        return self.r.choice(make)(), "SECRET"

    def key(self) -> tuple[str, str]:
        return self.r.choice([self.s(HEX, 32), self.s(HEX, 40), self.s(ALNUM, 32), self.s(ALNUM + "+/", 40)]), "SECRET"

    def password(self) -> tuple[str, str]:
        r = self.r
        word = r.choice(FAMILY).title()
        return r.choice(
            [
                f"{word}{r.randint(10, 9999)}!",
                self.s(ALNUM, 12),
                f"{r.choice(GIVEN)}#{r.choice(FAMILY)}{r.randint(1, 99)}",
                self.s(ALNUM + "!#%*", 16),
            ]
        ), "SECRET"

    def private_key(self) -> tuple[str, str]:
        kind = self.r.choice(["RSA PRIVATE KEY", "PRIVATE KEY", "OPENSSH PRIVATE KEY", "EC PRIVATE KEY"])
        body = "\n".join(self.s(ALNUM + "+/", 64) for _ in range(self.r.randint(3, 8)))
        return f"-----BEGIN {kind}-----\n{body}\n{self.s(ALNUM, 20)}==\n-----END {kind}-----", "SECRET"


def cut_at(digits: str, cuts: tuple[int, ...]) -> list[str]:
    return [digits[a:b] for a, b in zip((0, *cuts), (*cuts, len(digits)), strict=True)]


def with_luhn(digits: str) -> str:
    total = sum(int(c) if i % 2 else sum(divmod(2 * int(c), 10)) for i, c in enumerate(reversed(digits)))
    return digits + str(-total % 10)


def base58check(payload: bytes) -> str:
    payload += hashlib.sha256(hashlib.sha256(payload).digest()).digest()[:4]
    number, text = int.from_bytes(payload, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        text = BASE58[digit] + text
    return "1" * (len(payload) - len(payload.lstrip(b"\0"))) + text


def encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")
