"""The Hugging Face Hub's ids of licences, which are not quite those of SPDX."""

from __future__ import annotations

import re

_IDS_TEXT = """
afl-3.0 agpl-3.0 apache-2.0 apple-amlr apple-ascl artistic-2.0 bigcode-openrail-m bigscience-bloom-rail-1.0
bigscience-openrail-m bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear bsl-1.0 c-uda cc cc-by-2.0 cc-by-2.5 cc-by-3.0
cc-by-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0
cc-by-nc-sa-4.0 cc-by-nd-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc0-1.0 cdla-permissive-1.0 cdla-permissive-2.0 cdla-sharing-1.0
creativeml-openrail-m deepfloyd-if-license ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 gemma gfdl gpl gpl-2.0
gpl-3.0 h-research intel-research isc lgpl lgpl-2.1 lgpl-3.0 lgpl-lr llama2 llama3 llama3.1 llama3.2 llama3.3 llama4
lppl-1.3c mit mpl-2.0 ms-pl ncsa odbl odc-by ofl-1.1 openrail openrail++ osl-3.0 pddl postgresql unknown unlicense wtfpl
zlib other
"""
_IDS = frozenset(_IDS_TEXT.split())
_OTHER_NAMES = {"odc-by-1.0": "odc-by", "odbl-1.0": "odbl", "pddl-1.0": "pddl", "cc0": "cc0-1.0", "apache 2.0": "apache-2.0"}
_NO_FAMILY_SUFFIX = re.compile(r"-(only|or-later)$|\+$")
_URL = re.compile(r"https?://\S+")


def licence_keys(text: str) -> dict[str, str]:
    """The card's licence keys: a known id, or `other` with a name and, for an address, a link. Empty for no licence."""
    if not text.strip():
        return {}
    if known := _known_id(text):
        return {"license": known} if known != "other" else {"license": "other", "license_name": "other"}
    url = _URL.search(text)
    name = re.sub(r"[^a-z0-9.]+", "-", _URL.sub(" ", text).casefold()).strip("-.")[:60]
    keys = {"license": "other", "license_name": name or "see-link"}
    return keys | ({"license_link": url[0]} if url else {})


def licence_url(text: str) -> str:
    """An address of the licence where one is known, otherwise the text as it is."""
    url = _URL.search(text)
    if url:
        return url[0]
    is_spdx = _known_id(text) is not None and re.fullmatch(r"[A-Za-z0-9.+-]+", text) and "-" in text
    return f"https://spdx.org/licenses/{text}.html" if is_spdx else text


def _known_id(text: str) -> str | None:
    name = text.strip().casefold()
    name = _OTHER_NAMES.get(name, name)
    for candidate in (name, _NO_FAMILY_SUFFIX.sub("", name)):
        if candidate in _IDS:
            return candidate
    return None
