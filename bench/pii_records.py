"""Labelled records in the manner of customer messages, forms, signatures and logs, with identifiers of many countries.

Two parts share no template, no value and few forms of a number: rules may be tuned on `tuned`, and `kept_back` tells what they
are worth.
"""

from __future__ import annotations

import random
import re
import string
from collections import Counter
from collections.abc import Callable

from bench.pii_corpus import HEX, Sample, Values, with_luhn
from synth_ray.scrub.findings import Span

PHONES = {
    "tuned": [
        "##########", "###-###-####", "###-#######", "(###)###-####", "(###) ###-####", "###.###.####", "+1-###-###-####",
        "001-###-###-####", "###-###-####x###", "(###)###-####x####", "###.###.####x#####", "+1-###-###-####x####",
        "1-###-###-####", "07700 ######", "(07700) ### ###", "+447700 ######", "+91##########", "0##########",
        "+41 (0)## ### ## ##", "+46 (0)8 ### ### ##", "0#.##.##.##.##", "## ## ##", "### ####", "## ######", "0### #######",
        "##-##-##-##", "### ## ###", "(0#) #### ####", "(##) ####-####", "0##-#######", "### ### ###", "## ### ## ##",
        "0## ### ## ##", "0### ### ####", "## ### ###", "05#-#######", "+1 ### ### ####", "1 (###) ###-####",
        "001-###-###-####x###", "### ### ####", "###-###-#### ext. ###", "+1(###)###-####", "(###) ###-#### x##",
        "+44 (0)#### ######", "01### ######", "+44(0)20 #### ####", "07### ### ###", "+49(0)#########", "0##### #####",
        "+33 # ## ## ## ##", "0# ## ## ## ##", "+972-5#-#######", "05########", "+61 4## ### ###", "04## ### ###",
        "+91 ##### #####", "#### ####", "## ## ## ##", "(##) ###-###", "0##-###-###", "### ## ## ##", "## ### ####",
        "0## #######", "0## ### ####", "06-########", "0#### ######", "#### ### ###", "(0##) ### ## ##", "+55 (##) 9####-####",
        "+358 ## ### ####",
    ],
    "kept_back": [
        "+7 (9##) ###-##-##", "8 (9##) ###-##-##", "(0###) ######", "+49 ### #######", "0#### / ######", "+39 3## #######",
        "+34 6## ### ###", "0#0-####-####", "+81-3-####-####", "02-####-####", "(##) 9####-####", "+31(0)#########",
        "+48 ### ### ###", "+91-##########", "+90 (5##) ### ## ##", "1-###-###-####x#####", "+1 (###) ###-#### ext 12",
        "+1-###-###-####x#####", "001-###-###-####x#####", "###.###.####", "(###)###-####x###", "###-###-####",
        "+44 7### ######", "0161 ### ####", "+353 8# ### ####", "08# ### ####", "+43 660 #######", "+45 ## ## ## ##",
        "+47 ### ## ###", "(+351) 9## ### ###", "+420 ### ### ###", "0 5## ### ## ##", "+65 #### ####",
    ],
}  # fmt: skip

TEMPLATES = {
    "tuned": [
        "PHONE=How can I get hold of you? You can call {}", "PHONE=I'd like to stop getting messages to {}",
        "PHONE=Nobody answers at {}", "PHONE=No code arrived on my registered {}. Can you check?",
        "PHONE=Date: 3 May 2019\\nName: Ada Costa\\nPhone: {}",
        "PHONE=Ben Gupta\\nHarbour Foods\\n12 Mill Lane Suite 4\\nLeeds\\nNorway 3041\\n{} office",
        "PHONE=Ines Park\\n44 Hill Road\\n{}-Fax", "PHONE=Yusuf Ito\\nAcme\\nMobile: {}\\nDesk: 2",
        "PHONE=Let the manager ring me at {} please", "PHONE={} is my phone, by the way",
        "PHONE=Could somebody call me on {}? It is urgent.",
        "PHONE=Ruth Becker\\n\\n7 Quay Street\\n Apt. 12\\n Porto\\n Chile 45017\\n{}", "PHONE=our fax has changed to {}",
        "PHONE=(tel. {})", "PHONE=user_phone={}", "PHONE=/call?phone={}&x=1", "PHONE={} (home)",
        "EMAIL_ADDRESS=Forward my papers to this address {}", "EMAIL_ADDRESS=EMAIL='{}'", "EMAIL_ADDRESS=/u?email={}&x=1",
        "EMAIL_ADDRESS=Ada <{}>", "EMAIL_ADDRESS=Is your mail {}? Then confirm.", "EMAIL_ADDRESS=[link](mailto:{})",
        "EMAIL_ADDRESS=It is {}.", "CREDIT_CARD=Raise the limit of my card # {} for a week",
        "CREDIT_CARD=card no {} was stolen", "CREDIT_CARD=Last bills of cc {} please",
        "CREDIT_CARD=Charge it. The number is {}", "CREDIT_CARD=card={}&cvv=123", "CREDIT_CARD=Is {} still active?",
        "IBAN_CODE=Does a transfer from {} to another bank cost?", "IBAN_CODE=My account: {}", "IBAN_CODE=iban={};bic=X",
        "US_SSN=Her social security number is {}", "US_SSN=Here is my SSN: {}", "US_SSN={} (SSN)", "US_SSN=ssn={}&y=2",
        "IP_ADDRESS=Your site blocks {} all the time", "IP_ADDRESS=SELECT * FROM log WHERE ip = '{}'",
        "IP_ADDRESS=client={} took 12 ms", "URL=My site is {}", "URL=I shared some files with you: {}", "URL=See {}.",
        "MAC_ADDRESS=the router is {} now", "CRYPTO=pay to {} today",
        "=He was born on 3/12/1965 and lives at 4429 York St, 10-672 Olsztyn.", "=ZIP: 04581-040",
        "=The orchestra was founded in 1929.", "=Order 4438-2291 of 2021-04-11 costs 1,204.50 EUR", "=version 10.4.22 of 2019",
        "=3... 2... 1... liftoff!", "PHONE=You may reach her under {} until noon", "PHONE=Is {} a number you still use?",
        "PHONE=I got a text from {} last night", "PHONE=Please update my contact number to {}",
        "PHONE=Nadia Lopez\\nBluefin Ltd\\n{} mobile\\n", "PHONE=T: {}", "PHONE=Fax {}",
        "PHONE=Kavya Rao\\n\\nSales lead\\n\\n18 Elm Ave, Graz\\n\\n{}\\n\\nwww", "PHONE=Dial {} for the front desk.",
        "PHONE=tel={};x", "PHONE=Sven Dahl, 3 Fjord Way, Oslo, {}", "PHONE=The hotel can be phoned at {}.",
        "PHONE={} is the number of the clinic", "PHONE=Whose number is {}?", "PHONE=He left a voicemail, his line is {}",
        "PHONE=WhatsApp: {}", "PHONE=They texted {} by mistake", "EMAIL_ADDRESS=You told me that {} is yours",
        "EMAIL_ADDRESS=to={}|cc=", "EMAIL_ADDRESS=/accounts/{}/edit", "EMAIL_ADDRESS={}, thanks",
        'EMAIL_ADDRESS={{"email":"{}"}}', "EMAIL_ADDRESS=id:7;mail:{};", "EMAIL_ADDRESS=line one\\\\n{}\\\\nline two",
        "CREDIT_CARD=Can I draw money with {} abroad?", "CREDIT_CARD=My visa {} runs out", "CREDIT_CARD=pan:{}",
        "CREDIT_CARD=block {} now", "IBAN_CODE=wire it to {}, please", "IBAN_CODE=refund to={}",
        "IBAN_CODE=The IBAN {} is not mine", "US_SSN=The applicant's SSN, {}, is wrong", "US_SSN=taxpayer ssn:{}",
        "US_SSN={} is my social security number", "IP_ADDRESS=ping {} fails", "IP_ADDRESS=src={} dst=10.0.0.4", "URL=Look: {}",
        "URL=The photos are on {} now", "MAC_ADDRESS=hwaddr={}", "CRYPTO=my wallet ({})",
        "=The flat costs 1 250 000 kr and was built in 1987-1989.", "=ISBN 978-0-306-40615-7, pages 120-145",
        "=Invoice 2023-118834, due 05.06.2023", "=It took 12 45 78 steps", "=Score 112 345 points after 30 000 games",
        "=7311 EE Apeldoorn", "=git tag v2.10.3-rc1 (build 20230411)",
    ],
    "kept_back": [
        "PHONE=Try me on {} after six", "PHONE=my new mobile: {}", "PHONE=If there is a leak, phone {} at once.",
        "PHONE=Contact: {}", "PHONE=Omar Haddad\\nHead of Sales\\nDelta Freight\\nphone {}\\nfax on request",
        "PHONE=Do not share {}, it is my private number", "PHONE=Reservations ({})", "PHONE=| mobile | {} |",
        "PHONE=I was called by {} three times today", "PHONE=You can text {} too",
        "PHONE=Grace Oneill\\n9 Castle Street\\nCork T12 8XA\\nIreland\\n{}", "PHONE=contact_phone: '{}'",
        "PHONE=Tel {} / ask for Ben", "PHONE=The number on file is {}. Is it right?",
        "PHONE=Her emergency contact: Ada Lopez, {}", "PHONE={} - my work phone", "EMAIL_ADDRESS=From: Ada Ito <{}>\\nTo: all",
        "EMAIL_ADDRESS=login={};role=admin", "EMAIL_ADDRESS=ping {}!", "EMAIL_ADDRESS=send it to {}\\\\nthanks",
        "EMAIL_ADDRESS=https://a.example/unsubscribe?u={}", "EMAIL_ADDRESS=['{}']", "CREDIT_CARD=I paid with {} yesterday",
        "CREDIT_CARD=new card: {}", "CREDIT_CARD=number={}&exp=12/27", "CREDIT_CARD={} was declined",
        "IBAN_CODE=please debit {}", "IBAN_CODE=Kontonummer {}", "US_SSN=SSN {} on the form",
        "US_SSN=social security no. {}, thanks", "US_SSN=my ssn={}", "IP_ADDRESS=Blocked {} for an hour",
        "IP_ADDRESS=x-forwarded-for: {}", "URL=Download it from {}", "URL=<{}>", "MAC_ADDRESS=ether {} up", "CRYPTO=donate: {}",
        "=Our fiscal year ended 30.06.2021 with 12 450 300 in sales.", "=room 12-204, floor 3, building 1875",
        "=It scored 98.6 out of 100.", "=commit 4f2a9c1 touched 1204 lines in 33 files",
        "=Flight BA 2490 leaves at 18:45 on 2022-08-14", "=Patent 7,654,321 of 1998-2004",
    ],
}  # fmt: skip


def records(part: str, n: int, *, seed: int) -> list[Sample]:
    """Records of one part: `tuned` or `kept_back`."""
    v = Values(random.Random(f"{part} {seed}"))
    return [_record(v, part) for _ in range(n)]


def figures(spans_in: Callable[[str], list[Span]], samples: list[Sample]) -> dict[str, float]:
    """Recall (any character of a value is found), full coverage (all are), both also of phones, and precision (a finding touches
    a value).
    """
    n: Counter[str] = Counter()
    for sample in samples:
        covered = bytearray(len(sample.text))
        for start, end, _ in spans_in(sample.text):
            covered[start:end] = b"\1" * (end - start)
            n["found"] += 1
            n["right"] += any(start < b and end > a for a, b, _ in sample.spans)
        for a, b, kind in sample.spans:
            for group in ("", ", phones") if kind == "PHONE_NUMBER" else ("",):
                n[f"values{group}"] += 1
                n[f"recall{group}"] += any(covered[a:b])
                n[f"full coverage{group}"] += all(covered[a:b])
    rates = {f"{rate}{group}": n[f"{rate}{group}"] / n[f"values{group}"] for rate in _RATES for group in ("", ", phones")}
    return {**rates, "precision": n["right"] / n["found"]}


_RATES = ("recall", "full coverage")


def _record(v: Values, part: str) -> Sample:
    kind, template = v.r.choice(TEMPLATES[part]).split("=", 1)
    template = re.sub(r"(?<!\\)\\n", "\n", template).replace("\\\\n", "\\n").replace("{{", "{").replace("}}", "}")
    sample = Sample()
    if not kind:
        sample.text = template
        return sample
    name = "PHONE_NUMBER" if kind == "PHONE" else kind
    before, _, after = template.partition("{}") if template.count("{}") == 1 else template.rpartition("{}")
    value = _MAKERS[kind](v, part)
    sample.text = f"{before}{value}{after}"
    sample.spans.append((len(before), len(before) + len(value), name))
    return sample


def _phone(v: Values, part: str) -> str:
    form = v.r.choice(PHONES[part])
    first = True

    def digit(_: re.Match[str]) -> str:
        nonlocal first
        drawn, first = v.r.choice("23456789" if first and form[0] == "#" else string.digits), False
        return drawn

    return re.sub("#", digit, form)


def _email(v: Values, part: str) -> str:
    value = v.email()[0]
    return value if re.fullmatch(r"[\w.+-]+@[\w.-]+", value) else "ada.park@gmx.de"


def _card(v: Values, part: str) -> str:
    begin, n = v.r.choice([("4", 16), ("4", 13), ("4", 19), ("51", 16), ("2221", 16), ("34", 15), ("6011", 16), ("38", 14)])
    digits = with_luhn(begin + v.d(n - 1 - len(begin)))
    grouped = " ".join(digits[i : i + 4] for i in range(0, n, 4))
    return v.r.choice([digits, digits, grouped] if part == "tuned" else [digits, grouped, grouped.replace(" ", "-")])


def _ssn(v: Values, part: str) -> str:
    return f"{v.r.randint(1, 665):03d}-{v.r.randint(1, 99):02d}-{v.r.randint(1, 9999):04d}"


def _ip(v: Values, part: str) -> str:
    if v.r.random() < 0.2:
        return ":".join(["2a01", *(v.s(HEX, 4) for _ in range(7))])
    return f"{v.r.choice([8, 31, 62, 93, 109, 146, 185, 203])}.{v.r.randint(1, 255)}.{v.r.randint(0, 255)}.{v.r.randint(40, 254)}"


def _url(v: Values, part: str) -> str:
    host = v.s(string.ascii_lowercase, 9) + v.r.choice(
        [".com", ".org", ".net", ".info", ".co.uk", ".de", ".com.ee", ".gl", ".is"]
    )
    path = v.r.choice(["", "/", "/posts/tag/", f"/{v.s(string.ascii_lowercase, 6)}.html", "/index.php?id=7"])
    return v.r.choice(["http://www.", "https://", "https://www.", "www."]) + host + path


_MAKERS: dict[str, Callable[[Values, str], str]] = {
    "PHONE": _phone,
    "EMAIL_ADDRESS": _email,
    "CREDIT_CARD": _card,
    "IBAN_CODE": lambda v, _: v.iban()[0],
    "US_SSN": _ssn,
    "IP_ADDRESS": _ip,
    "URL": _url,
    "MAC_ADDRESS": lambda v, _: v.mac()[0],
    "CRYPTO": lambda v, _: v.wallet()[0],
}
