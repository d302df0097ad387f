"""Labelled texts with the values of `pii_corpus`: sentences and structures by kind, filler sentences, and traps."""

from __future__ import annotations

import random
import string
import uuid

from bench.pii_corpus import HEX, Sample, Values, with_luhn

PLACES = {
    "EMAIL_ADDRESS": [
        "Drop me a line: {}.",
        "he signs as {} these days",
        '{"from": "{}", "ok": true}',
        "To: {}",
        "user,{},active",
        "Could you add {} to the list?",
        "2024-03-02 INFO mail queued for {} in 12 ms",
        "e-mail: {}",
        "| contact | {} |",
    ],
    "PHONE_ABROAD": [
        "Ring {} if the door is locked.",
        "{} works too.",
        '"phone": "{}"',
        "mobile,{},yes",
        "sms gateway sent to {}",
        "WhatsApp {}",
        "My brother has {} now.",
        "Fax: {}",
        "<a>{}</a>",
        "you'll find me under {}",
    ],
    "PHONE_HOME": [
        "Give me a call at {} tonight.",
        "phone: {}",
        '"mobile": "{}"',
        "My number is {}.",
        "Tel. {}",
        "Text {} when you land.",
        "the clinic's phone number: {}",
        "Call {} and ask for the manager.",
        "You can reach us on {}",
        "| Telephone | {} |",
        "cell {}",
        "Our hotline {} is open until six.",
    ],
    "CREDIT_CARD": [
        "Bill it to {}.",
        "card number: {}",
        '{"pan": "{}"}',
        "My mastercard {} got stolen",
        "payment with {} (exp 11/27) approved",
        "cc {} cvv 123",
        "charge {} please",
        "| card | {} |",
        "amex={}",
    ],
    "IBAN_CODE": [
        "Please transfer the rent to {} by Friday.",
        "IBAN: {}",
        '"iban": "{}"',
        "refund,{},EUR",
        "Mein Konto ist {}",
        "account {} with my bank",
        "send money to {} thanks",
    ],
    "US_SSN": [
        "Her social security number is {}.",
        "SSN: {}",
        '"ssn": "{}"',
        "ssn {} on the W-2",
        "Patient SSN # {} confirmed",
        "| SSN | {} |",
    ],
    "IP_ADDRESS": [
        "Failed login from {} port 22",
        '{} - - [10/Oct/2023:13:55:36] "GET / HTTP/1.1" 200',
        '"client_ip": "{}"',
        "ping {} works",
        "My home address on the net is {}.",
        "whitelist {} please",
        "Connection to {} timed out",
        "remote={}",
    ],
    "MAC_ADDRESS": ["MAC {}", "The printer shows up as {} on the network.", '"mac": "{}"', "wlan0 ether {} txqueuelen 1000"],
    "CRYPTO": ["My wallet: {}", "send 0.2 to {} asap", '"to": "{}"', "tips welcome at {}", "the deposit address {} is correct"],
    "US_ITIN": ["ITIN {}", "His individual taxpayer identification number is {}.", '"itin": "{}"'],
    "US_PASSPORT": ["passport number {}", "My US passport is {}.", '"passport_no": "{}"', "Passport no: {}"],
    "US_BANK_NUMBER": ["account number {}", "My checking account is {}.", "bank account: {}", "acct no {} at the branch"],
    "US_DRIVER_LICENSE": ["driver's license {}", "My driver license number is {}.", '"drivers_license": "{}"', "DL: {}"],
    "UK_NHS": ["NHS number {}", "His NHS no. is {}.", "NHS: {}"],
}
TOKEN_PLACES = [
    "curl -H 'X-Token: {}' https://x.io",
    "I pasted {} by mistake",
    "token={}",
    '"access_token": "{}"',
    "the key is {} ok?",
    "export KEY={}",
]
KEY_PLACES = [
    'api_key = "{}"',
    "API_SECRET={}",
    '"client_secret": "{}"',
    "x-api-key: {}",
    "auth_token: {}",
    "aws_secret_access_key = {}",
]
PASSWORD_PLACES = [
    "password: {}",
    "the password is {}",
    'passwd="{}"',
    "DB_PASSWORD={}",
    "my wifi password is {} by the way",
    '"password": "{}"',
    "mysql://root:{}@db.example.net/app",
    "Server=db1;User Id=sa;Password={};",
    "https://bot:{}@git.example.net/x.git",
    "pwd = '{}'",
]
FILLER = [
    "The update changed how the list is sorted.",
    "We waited for an hour and nothing happened.",
    "I would rather keep it simple.",
    "That was the third time this week.",
    "She asked whether the plan still holds.",
    "It rained all weekend.",
    "Nobody could explain the delay.",
    "Can you shorten the second paragraph?",
    "Sure, here is a shorter version.",
    "The results improved after we cleaned the data.",
    "def total(xs):\n    return sum(x * 2 for x in xs)",
    "for i in range(3): print(i)",
    "SELECT name FROM users WHERE age > 30;",
    "If 3 pens cost 12 euros, 5 pens cost 20 euros.",
    "Let x = 4, then x^2 + 3x = 28.",
    "He scored 18 of 20.",
    "Chapter 3 explains it.",
]
TRAP_PLACES = [
    "We shipped {} yesterday.",
    "see {} for more",
    "it returned {}",
    "The log shows {} twice.",
    "order {} is late",
    "compare {} with the old one",
    "value = {}",
    "[{}]",
    "ref {}",
    "I got {} instead",
    "{} seems wrong",
]


def trap(v: Values) -> tuple[str, str]:
    """A value that is not personal, though it may look so, and its kind."""
    r = v.r
    d, pick = v.d, r.choice
    makers = {
        "version": lambda: f"{r.randint(1, 20)}.{r.randint(0, 40)}.{r.randint(0, 99)}",
        "version of four": lambda: f"{r.randint(1, 12)}.{r.randint(0, 20)}.{r.randint(100, 9999)}.{r.randint(0, 30)}",
        "hash": lambda: v.s(HEX, pick([32, 40, 64])),
        "commit": lambda: v.s(HEX, pick([7, 8, 12])),
        "order": lambda: pick(["PO-", "INV-", "#", "ORD", "RMA-"]) + d(pick([5, 6, 8])),
        "tracking": lambda: pick(["1Z", "JD0", "RR"]) + d(12) + pick(["", "DE"]),
        "sum": lambda: f"{d(3)} + {d(4)} = {d(4)}",
        "product": lambda: f"{d(4)} * {d(3)} = {d(6)}",
        "decimal": lambda: f"{r.randint(0, 99)}.{d(pick([4, 8, 10]))}",
        "big number": lambda: f"{r.randint(1, 999)},{d(3)},{d(3)}",
        "integer": lambda: "1" + d(pick([5, 7, 11])),
        "moment": lambda: str(r.randint(1_600_000_000, 1_750_000_000)),
        "date": lambda: f"{r.randint(1990, 2025)}-{r.randint(1, 12):02d}-{r.randint(1, 28):02d}",
        "time": lambda: f"{r.randint(0, 23):02d}:{r.randint(0, 59):02d}:{r.randint(0, 59):02d}.{d(3)}",
        "years": lambda: f"{r.randint(1900, 1990)}-{r.randint(1991, 2025)}",
        "isbn": lambda: f"978-0-{d(2)}-{d(6)}-{d(1)}",
        "uuid": lambda: str(uuid.UUID(int=r.getrandbits(128), version=4)),
        "inner address": lambda: pick(["10.0.", "192.168.", "172.16."]) + f"{r.randint(0, 255)}.{r.randint(1, 254)}",
        "loopback": lambda: pick(["127.0.0.1", "::1", "0.0.0.0", "255.255.255.0"]),
        "code": lambda: pick(
            ["np.float32", "std::vector<int>", "os.environ", "obj.save()", "a[1:2]", "foo@bar", "@dataclass", "x::y::z"]
        ),
        "colour": lambda: "#" + v.s(HEX, 6),
        "zip": lambda: f"{d(5)}-{d(4)}",
        "range": lambda: f"{r.randint(100, 400)}-{r.randint(401, 999)}",
        "place": lambda: f"{r.randint(10, 89)}.{d(6)}, -{r.randint(10, 99)}.{d(6)}",
        "price": lambda: f"${r.randint(1, 9)},{d(3)}.{d(2)}",
        "wrong card": lambda: str((c := with_luhn("4" + d(14)))[:-1] + str((int(c[-1]) + 5) % 10)),
        "paper": lambda: pick([f"arXiv:{r.randint(1001, 2412)}.{d(5)}", f"10.{d(4)}/j.{v.s(string.ascii_lowercase, 5)}.{d(7)}"]),
        "part": lambda: f"{v.s(string.ascii_uppercase, 2)}{d(4)}-{d(2)}{v.s(string.ascii_uppercase, 1)}",
        "stand-in": lambda: pick(
            [
                "password=os.environ['PW']",
                "api_key=YOUR_API_KEY",
                "password: <password>",
                "token = get_token()",
                "secret: ********",
            ]
        ),
        "public key": lambda: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + v.s("abcdefghijklmnop", 43),
        "clone": lambda: pick(["git@github.com:acme/tools.git", "git@gitlab.com:a/b.git"]),
    }
    name = pick(sorted(makers))
    return makers[name](), name


def plant(sample: Sample, v: Values, kind: str) -> None:
    r = v.r
    if kind == "SECRET":
        make, places = r.choice(
            [(v.token, TOKEN_PLACES), (v.key, KEY_PLACES), (v.password, PASSWORD_PLACES), (v.private_key, ["{}", "key:\n{}"])]
        )
        value, entity = make()
        sample.add(r.choice(places), value, entity)
        return
    value, name = getattr(v, kind)()
    entity = "PHONE_NUMBER" if name.startswith("PHONE") else name
    sample.add(r.choice(PLACES[name]), value, entity)


KINDS = (
    ["email"] * 3
    + ["phone"] * 5
    + ["card"] * 2
    + ["iban"] * 2
    + ["ssn"] * 2
    + ["ip"] * 2
    + ["SECRET"] * 4
    + [
        "mac",
        "wallet",
        "itin",
        "passport",
        "bank",
        "licence",
        "nhs",
    ]
)


def corpus(n: int, *, seed: int, dense: bool = True) -> list[Sample]:
    """`n` chats of about 200 words. Of sparse ones, one in five has planted values."""
    draw = random.Random(seed)
    values = Values(draw)
    return [_sample(values, dense=dense) for _ in range(n)]


def _sample(v: Values, *, dense: bool) -> Sample:
    r = v.r
    plants = r.randint(3, 7) if dense else (r.randint(1, 3) if r.random() < 0.2 else 0)
    traps = r.randint(1, 4) if dense else (r.randint(1, 2) if r.random() < 0.35 else 0)
    pieces = ["plant"] * plants + ["trap"] * traps + ["filler"] * r.randint(14, 20)
    r.shuffle(pieces)
    sample = Sample("User: ")
    for i, piece in enumerate(pieces):
        if piece == "plant":
            plant(sample, v, r.choice(KINDS))
        elif piece == "trap":
            value, name = trap(v)
            sample.add(r.choice(TRAP_PLACES), value, name, trap=True)
        else:
            sample.text += r.choice(FILLER)
        sample.text += r.choice([" ", "\n", "\n\nAssistant: ", "\n\nUser: "]) if i % 4 == 3 else r.choice([" ", " ", "\n"])
    return sample
