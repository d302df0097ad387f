"""Pushes a published version to a dataset on the Hugging Face Hub, in one commit.

Law: afterwards the branch has the manifest's parts, and of this program's files nothing else. Files that are there with the same
content are not sent, and of a version that is there nothing is, also where it was published again since. Memory and disk are
bounded: parts of a bucket go through temporary files, a group at a time.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from synth_ray.dataset.card import PATH as CARD
from synth_ray.dataset.card import card_bytes
from synth_ray.dataset.croissant import PATH as CROISSANT
from synth_ray.dataset.croissant import croissant_bytes
from synth_ray.dataset.manifest import PATH as MANIFEST
from synth_ray.dataset.manifest import File, Manifest
from synth_ray.errors import ObjectNotFound, StorageError
from synth_ray.storage import Storage
from synth_ray.storage.hub_upload import HubDataset, RemoteFile

REPORT = "report.html"

_OF_THE_RUN = {"created_at", "cost", "throughput", "engines", "versions", "estimate"}
"""Keys of the manifest that a run of a complete job, which publishes the same version again, writes anew."""

_PART = re.compile(r"(?:data/split=[^/]+/(?:[^/]+/)*|rejected/)part-\d+-[0-9a-f]{8}\.parquet")
_GROUP_FILES = 64
_GROUP_BYTES = 256 * 2**20
_COPY_BYTES = 8 * 2**20


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push did. `commit` is the commit's address, empty where everything was there."""

    commit: str
    sent: int
    sent_bytes: int
    already_there: int
    removed: int


def push_dataset(storage: Storage, manifest: Manifest, url: str, *, with_rejected: bool = False) -> Pushed:
    """Push a version to `hf://datasets/OWNER/NAME[@BRANCH]`. Raises JobError for the address, StorageError for the rest."""
    remote = HubDataset(url)
    there = remote.files()
    shown = manifest if with_rejected else manifest.model_copy(update={"rejected_files": []})
    parts = [*shown.files, *shown.rejected_files]
    missing = [part for part in parts if not _has_part(there, storage, part)]
    described = dict(_descriptions(storage, shown, remote.url))
    is_same = not missing and MANIFEST in there and _is_same_version(described[MANIFEST], remote.read(MANIFEST))
    described = {path: data for path, data in described.items() if path not in there or not (is_same or there[path].has(data))}
    removed = sorted(path for path in there.keys() - {part.path for part in parts} if _PART.fullmatch(path))
    if not (missing or described or removed):
        return Pushed("", 0, 0, len(there), 0)
    with tempfile.TemporaryDirectory(prefix="synth-ray-push-") as folder:
        for group in _groups(missing):
            _send(remote, storage, group, Path(folder))
        remote.send(described.items())
        commit = remote.commit(f"{manifest.name}: dataset {manifest.dataset_digest[:16]}", removed=removed)
    sent_bytes = sum(part.bytes for part in missing) + sum(map(len, described.values()))
    sent = len(missing) + len(described)
    return Pushed(commit, sent, sent_bytes, len(there) - len(removed), len(removed))


def _descriptions(storage: Storage, shown: Manifest, url: str) -> Iterator[tuple[str, bytes]]:
    """The files beside the parts; card and Croissant file as they read on the Hub, with the parts that go there."""
    yield MANIFEST, storage.read(MANIFEST)
    yield CARD, card_bytes(storage, shown, url=url)
    yield CROISSANT, croissant_bytes(shown)
    try:
        yield REPORT, storage.read(REPORT)
    except ObjectNotFound:
        return


def _has_part(there: Mapping[str, RemoteFile], storage: Storage, part: File) -> bool:
    """Whether the part is there. Of a small file that the Hub keeps as a plain one it tells only git's digest."""
    if part.path not in there:
        return False
    known = there[part.path].sha256
    return known == part.sha256 if known else there[part.path].has(storage.read(part.path))


def _is_same_version(manifest: bytes, other: bytes) -> bool:
    """Whether two manifests tell the same but for when and at what cost it was published."""
    try:
        documents = json.loads(manifest), json.loads(other)
    except ValueError:
        return False  # somebody else's file of that name
    if not all(isinstance(document, dict) for document in documents):
        return False
    facts = [{name: value for name, value in document.items() if name not in _OF_THE_RUN} for document in documents]
    return facts[0] == facts[1]


def _groups(parts: Iterable[File]) -> Iterator[list[File]]:
    """Parts to send at once: some requests instead of one each, and little on the disk."""
    group: list[File] = []
    for part in parts:
        if group and (len(group) == _GROUP_FILES or sum(p.bytes for p in group) + part.bytes > _GROUP_BYTES):
            yield group
            group = []
        group.append(part)
    if group:
        yield group


def _send(remote: HubDataset, storage: Storage, group: list[File], folder: Path) -> None:
    files = [(part.path, _file_of(storage, part, folder)) for part in group]
    for (_, file), is_sent in zip(files, remote.send(files), strict=True):
        if is_sent and file.parent == folder:
            file.unlink()


def _file_of(storage: Storage, part: File, folder: Path) -> Path:
    """The part on this disk: itself, or a copy in `folder`. Raises StorageError where it is not what the manifest says."""
    is_local = "://" not in storage.url
    file = Path(storage.url) / part.path if is_local else folder / part.sha256
    digest = hashlib.sha256()
    with storage.open_input(part.path) as source, nullcontext(None) if is_local else file.open("wb") as copy:
        while block := source.read(_COPY_BYTES):
            digest.update(block)
            if copy is not None:
                copy.write(block)
    if digest.hexdigest() != part.sha256:
        raise StorageError(
            f"{storage.url}/{part.path}: wanted the part that manifest.json names, got other bytes; restore it, or run again"
        )
    return file
