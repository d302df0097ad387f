"""Keys and tokens with recognisable prefixes, as their issuers document them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from synth_ray.scrub.findings import Finding
from synth_ray.scrub.text_view import TextView, seconds_left

_W = "[A-Za-z0-9_-]"
_RULES = (
    # (prefix, what follows it)
    (r"(?:AKIA|ASIA|AGPA|AIDA|AROA|ANPA|ANVA|ABIA|ACCA)", r"[A-Z0-9]{16}"),  # Amazon
    (r"gh[pousr]_", r"[A-Za-z0-9]{30,}"),  # GitHub
    (r"github_pat_", r"[A-Za-z0-9_]{30,}"),
    (r"gl(?:pat|ptt|dt|rt|cbt|ft|soat|imt|agent|oas|ffct)-", rf"{_W}{{16,}}"),  # GitLab
    (r"xox[abcdeoprs]-", r"[A-Za-z0-9-]{10,}"),  # Slack
    (r"xapp-", r"[0-9]-[A-Za-z0-9-]{10,}"),
    (r"hooks\.slack\.com/", r"(?:services|workflows|triggers)/[A-Za-z0-9/+_-]{16,}"),
    (r"discord(?:app)?\.com/api/webhooks/", rf"[0-9]{{8,}}/{_W}{{20,}}"),
    (r"[srp]k_(?:live|test|prod)_", r"[A-Za-z0-9]{10,}"),  # Stripe
    (r"whsec_", r"[A-Za-z0-9+/=]{20,}"),
    (r"sk-", rf"{_W}{{20,}}"),  # OpenAI, Anthropic and others
    (r"sess-", r"[A-Za-z0-9]{30,}"),
    (r"AIza", rf"{_W}{{35}}"),  # Google
    (r"ya29\.", rf"{_W}{{20,}}"),
    (r"GOCSPX-", rf"{_W}{{20,}}"),
    (r"hf_", r"[A-Za-z0-9]{30,}"),  # Hugging Face
    (r"api_org_", r"[A-Za-z0-9]{30,}"),
    (r"npm_", r"[A-Za-z0-9]{30,}"),
    (r"pypi-", rf"{_W}{{40,}}"),
    (r"rubygems_", r"[a-f0-9]{40,}"),
    (r"SG\.", rf"{_W}{{16,}}\.{_W}{{16,}}"),  # SendGrid
    (r"key-", r"[a-f0-9]{32}"),  # Mailgun
    (r"(?:SK|AC)[a-f0-9]{2}", r"[a-f0-9]{30}"),  # Twilio
    (r"sq0(?:atp|csp|idp)-", rf"{_W}{{20,}}"),  # Square
    (r"shp(?:at|ca|pa|ss|ua)_", r"[A-Fa-f0-9]{32}"),  # Shopify
    (r"do[oprt]_v1_", r"[a-f0-9]{64}"),  # DigitalOcean
    (r"dapi", r"[a-f0-9]{32}"),  # Databricks
    (r"hv[sbr]\.", rf"{_W}{{20,}}"),  # Vault
    (r"lin_(?:api|oauth)_", r"[A-Za-z0-9]{30,}"),  # Linear
    (r"(?:ntn|secret)_", r"[A-Za-z0-9]{40,}"),  # Notion
    (r"PMAK-", r"[a-f0-9]{24}-[a-f0-9]{34}"),  # Postman
    (r"figd_", rf"{_W}{{30,}}"),  # Figma
    (r"gl(?:c|sa)_", r"[A-Za-z0-9_+/=]{30,}"),  # Grafana
    (r"NRA[KL]-", r"[A-Z0-9]{27}"),  # New Relic
    (r"sntry[su]_", r"[A-Za-z0-9_+/=-]{40,}"),  # Sentry
    (r"dp\.(?:pt|st|ct|sa|scim|audit)\.", r"[A-Za-z0-9._-]{30,}"),  # Doppler
    (r"dckr_(?:pat|oat)_", rf"{_W}{{20,}}"),  # Docker
    (r"r8_", r"[A-Za-z0-9]{30,}"),  # Replicate
    (r"gsk_", r"[A-Za-z0-9]{40,}"),  # Groq
    (r"xai-", r"[A-Za-z0-9]{60,}"),
    (r"pplx-", r"[A-Za-z0-9]{40,}"),
    (r"sbp_", r"[a-f0-9]{40}"),  # Supabase
    (r"pscale_(?:tkn|pw|oauth)_", rf"{_W}{{30,}}"),  # PlanetScale
    (r"ATATT3", r"[A-Za-z0-9_=+/-]{60,}"),  # Atlassian
    (r"HRKU-", rf"{_W}{{30,}}"),  # Heroku
    (r"pat", r"[A-Za-z0-9]{14}\.[a-f0-9]{64}"),  # Airtable
    (r"EAA", r"[A-Za-z0-9]{44,}"),  # Facebook
    (r"AGE-SECRET-KEY-1", r"[A-Z0-9]{50,}"),
    (r"sl\.", rf"{_W}{{100,}}"),  # Dropbox
    (r"(?i:AccountKey|SharedAccessKey)=", r"[A-Za-z0-9+/]{40,}={0,2}"),  # Azure
    (r"(?i:sig)=", r"[A-Za-z0-9+/%]{40,}(?:%3[dD]|=){0,2}"),
    (r"eyJ", rf"{_W}{{8,}}\.eyJ{_W}{{8,}}\.{_W}*"),  # JSON Web Tokens
)
_INNER_RULES = (
    # (literal inside the token, expression of the whole token)
    (".atlasv1.", rf"(?<!\w)[A-Za-z0-9]{{14}}\.atlasv1\.{_W}{{40,}}"),  # Terraform
    ("-us", r"(?<!\w)[a-f0-9]{32}-us[0-9]{1,2}(?!\w)"),  # Mailchimp
    (":AA", rf"(?<!\w)[0-9]{{8,10}}:AA{_W}{{32,}}"),  # Telegram
    ("8Q~", r"(?<![\w~.-])[A-Za-z0-9_~.-]{3}8Q~[A-Za-z0-9_~.-]{31,34}"),  # Microsoft Entra
    (".", rf"(?<![\w-])[A-Za-z0-9]{{23,28}}\.{_W}{{6}}\.{_W}{{27,40}}(?![\w-])"),  # Discord bots
)
_INSIDE = r"\.atlasv1\.|[a-f0-9]{8}-us[0-9]|[0-9]:AA[a-z0-9_-]{8}|8Q~[a-z0-9_~.-]{8}|[a-z0-9]\.[a-z0-9_-]{6}\.[a-z0-9_-]{27}"
_BEGIN = r"\b(?:" + "|".join(prefix for prefix, _ in _RULES) + ")"
GATE = _BEGIN.replace("(?i:", "(?:") + "|" + _INSIDE
_MIN_DISTINCT = 6


def finder() -> Any:
    """RE2 finds where a token can begin; a backtracking match from there finds its end. Counted repeats in RE2 would create a new
    automaton state for nearly every word.
    """
    import re2

    begin = re2.compile(_BEGIN.encode())
    token_pattern = re.compile("|".join(f"(?:{prefix}{body})" for prefix, body in _RULES))
    inside = re2.compile(f"(?i){_INSIDE}".encode())
    inner_patterns = [(part, re.compile(regex)) for part, regex in _INNER_RULES]

    def find(view: TextView, deadline: float) -> Iterator[Finding]:
        seconds_left(deadline)
        text, at = view.text, 0
        while m := begin.search(view.data, at):
            match = token_pattern.match(text, view.char_offset(m.start()))
            at = m.end()
            if match and len(set(match[0])) >= _MIN_DISTINCT:
                yield Finding("SECRET", *match.span(), 1.0)
        if inside.search(view.data):
            for part, regex in inner_patterns:
                if part in text:
                    yield from (Finding("SECRET", *m.span(), 1.0) for m in regex.finditer(text))

    return find


KEY_GATE = r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY|PuTTY-User-Key-File"
_HEAD = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|PuTTY-User-Key-File-[0-9]:")
_TAIL = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|Private-MAC: [0-9a-f]+")
_BODY = re.compile(r"(?:(?:\\[nr]|\s)*(?:[A-Za-z0-9+/]{20,}={0,2}|(?:Proc-Type|DEK-Info|Version|Comment)[^\n]*))*")
_MAX_CHARACTERS = 20_000


def private_keys(view: TextView, deadline: float) -> Iterator[Finding]:
    """A private key from its first to its last line; without a last line, to the end of the text that looks like its body."""
    text, last = view.text, 0
    tails = _TAIL.finditer(text)
    tail = next(tails, None)
    for m in _HEAD.finditer(text):
        seconds_left(deadline)
        if m.start() < last:
            continue
        while tail and tail.start() < m.end():
            tail = next(tails, None)
        body = _BODY.match(text, m.end())
        last = tail.end() if tail and tail.start() < m.end() + _MAX_CHARACTERS else body.end() if body else m.end()
        yield Finding("SECRET", m.start(), last, 1.0)
