"""Objects in a bucket of GCS or a container of Azure, under a prefix.

obstore makes every request. It repeats one once, at once; then `Retry` goes on, so that a store that fails is waited for as long
and as gently as S3 is.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, NoReturn, TypeVar

from synth_ray.errors import Conflict, ObjectNotFound, StorageError
from synth_ray.storage.contract import Entry, validate_path, validate_prefix
from synth_ray.storage.object_client import Client, refuse_fork
from synth_ray.storage.object_errors import PastTheEnd, translate_error
from synth_ray.storage.object_upload import WRITE_ID, ObjectUpload
from synth_ray.storage.probe import enforces_conditions
from synth_ray.storage.range_file import RangeFile, buffered_input
from synth_ray.storage.retry import Retry, Transient

T = TypeVar("T")

_GENERATION = re.compile(r"[1-9][0-9]{0,19}")
_PAGE_KEYS = 1000


class ObjectStorage:
    """See `contract.Storage`. An etag here is GCS's generation, or Azure's etag: what the store conditions a write on.

    A write whose response was lost is retried, and the retry may meet the object of the first try. Each write therefore puts an
    id of its own into the object's metadata, by which a writer recognises its own object.
    """

    def __init__(self, url: str, prefix: str, *, client: Client, retry: Retry, enforced: bool = True) -> None:
        self._prefix = f"{prefix}/" if prefix else ""
        self._client = client
        self._retry = retry
        self._enforced = enforced
        self._answered = False
        self.url = url

    def __reduce__(self) -> NoReturn:
        raise TypeError("a store holds credentials: send its address, and open it there")

    def _key(self, path: str) -> str:
        return self._prefix + validate_path(path)

    def _call(self, path: str, act: Callable[[Any, Any], T]) -> T:
        """`act(obstore, bucket)`, with retries, and with our errors in place of obstore's."""
        name = f"{self.url}/{path}" if path else self.url

        def cleaned_act(_: int) -> T:
            refuse_fork(name)
            try:
                result = act(self._client.obstore, self._client.bucket)
            except (Transient, StorageError):
                raise
            except Exception as error:
                raise translate_error(error, name, answered=self._answered) from None
            self._answered = True
            return result

        return self._retry.call(cleaned_act, name=name)

    def _etag_of(self, meta: Any) -> str:
        """Raises StorageError where the server tells no version: another server than the address says."""
        etag = meta["version"] if self._client.generations else (meta["e_tag"] or "").strip('"')
        if not etag:
            raise StorageError(f"{self.url}: wanted a server that gives each object a version, got another; check the endpoint")
        return str(etag)

    def read(self, path: str) -> bytes:
        return self.read_with_etag(path)[0]

    def read_with_etag(self, path: str) -> tuple[bytes, str]:
        data, etag = self._get(path)
        return bytes(data), etag

    def _get(self, path: str, **options: Any) -> tuple[Any, str]:
        """The bytes, in obstore's own memory, and the etag of their version."""
        key = self._key(path)

        def act(obstore: Any, bucket: Any) -> tuple[Any, str]:
            answer = obstore.get(bucket, key, options=options or None)
            return answer.bytes(), self._etag_of(answer.meta)

        return self._call(path, act)

    def read_range(self, path: str, start: int, length: int) -> bytes:
        return bytes(self._range(path, start, length)[0])

    def _range(self, path: str, start: int, length: int) -> tuple[Any, str]:
        validate_path(path)
        try:
            return self._get(path, range=(start, start + length)) if length > 0 else (b"", "")
        except PastTheEnd:
            return b"", ""

    def open_input(self, path: str) -> Any:
        meta = self._head(path)
        raw = RangeFile(lambda start, length: self._range(path, start, length), meta["size"], self._etag_of(meta), path)
        return buffered_input(raw)

    def write(self, path: str, data: bytes) -> None:
        self._put(path, data, "overwrite", uuid.uuid4().hex)

    def create(self, path: str, data: bytes) -> str:
        if not self._enforced and self.exists(path):
            raise self._conflict(path, "to create it, got one that is there")
        return self._conditional_put(path, data, "create", "to create it, got one that is there")

    def swap(self, path: str, data: bytes, etag: str) -> str:
        validate_path(path)
        wanted = "the version read before, got another"
        if self._client.generations and not _GENERATION.fullmatch(etag):
            raise self._conflict(path, wanted)  # to GCS, generation 0 would mean that there is no object
        if not self._enforced and self._etag_or_none(path) != etag:
            raise self._conflict(path, wanted)
        condition = {"version": etag} if self._client.generations else {"e_tag": f'"{etag}"'}
        return self._conditional_put(path, data, condition, wanted)

    def _conditional_put(self, path: str, data: bytes, condition: Any, wanted: str) -> str:
        write_id = uuid.uuid4().hex
        try:
            return self._put(path, data, condition if self._enforced else "overwrite", write_id)
        except (Conflict, ObjectNotFound):
            written_by, etag = self._writer_of(path)
            if written_by == write_id:
                return etag
            raise self._conflict(path, wanted) from None

    def _put(self, path: str, data: bytes, mode: Any, write_id: str) -> str:
        key = self._key(path)
        options = {"attributes": {WRITE_ID: write_id}, "mode": mode, "use_multipart": False}
        return self._call(path, lambda obstore, bucket: self._etag_of(obstore.put(bucket, key, data, **options)))

    def _conflict(self, path: str, wanted: str) -> Conflict:
        return Conflict(f"{self.url}/{path}: wanted {wanted}; another writer won")

    def _writer_of(self, path: str) -> tuple[str, str]:
        """The id of the write that made the object, and its etag; both empty where there is none."""
        key = self._key(path)

        def act(obstore: Any, bucket: Any) -> tuple[str, str]:
            answer = obstore.get(bucket, key, options={"head": True})
            return str(answer.attributes.get(WRITE_ID, "")), self._etag_of(answer.meta)

        try:
            return self._call(path, act)
        except ObjectNotFound:
            return "", ""

    def _head(self, path: str) -> Any:
        key = self._key(path)
        return self._call(path, lambda obstore, bucket: obstore.head(bucket, key))

    def _etag_or_none(self, path: str) -> str | None:
        try:
            return self.etag(path)
        except ObjectNotFound:
            return None

    def etag(self, path: str) -> str:
        return self._etag_of(self._head(path))

    def exists(self, path: str) -> bool:
        return self._etag_or_none(path) is not None

    def delete(self, path: str) -> None:
        key = self._key(path)
        try:
            self._call(path, lambda obstore, bucket: obstore.delete(bucket, key))
        except ObjectNotFound:
            return

    def delete_many(self, paths: Iterable[str]) -> None:
        keys = iter([self._key(path) for path in paths])
        while batch := list(islice(keys, _PAGE_KEYS)):
            try:
                self._call("", lambda obstore, bucket, batch=batch: obstore.delete(bucket, batch))  # type: ignore[misc]
            except ObjectNotFound:  # one that was missing may have kept others from being deleted
                for key in batch:
                    self.delete(key[len(self._prefix) :])

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Read as a whole before the first entry, so that a listing that breaks off is begun again."""
        start = self._prefix + validate_prefix(prefix)
        folder = start.rpartition("/")[0] or None

        def act(obstore: Any, bucket: Any) -> list[Entry]:
            pages = obstore.list(bucket, folder, chunk_size=_PAGE_KEYS)
            return [self._entry(meta) for page in pages for meta in page if meta["path"].startswith(start)]

        return iter(self._call(prefix, act))

    def _entry(self, meta: Any) -> Entry:
        return Entry(meta["path"][len(self._prefix) :], meta["size"], meta["last_modified"].timestamp())

    @contextmanager
    def upload(self, path: str) -> Iterator[ObjectUpload]:
        key, name = self._key(path), f"{self.url}/{path}"
        refuse_fork(name)
        upload = ObjectUpload(
            self._client,
            key,
            call=lambda act: self._call(path, act),
            translate=lambda error: translate_error(error, name, answered=self._answered),
            written_by=lambda: self._writer_of(path)[0],
        )
        try:
            yield upload
            upload.finish()
        except BaseException as error:
            upload.abort(error)
            raise

    def sweep_uploads(self, *, older_than_s: float) -> int:
        """Nothing: Azure removes parts of a killed upload after a week, GCS by the bucket's lifecycle rule (docs/storage.md)."""
        return 0

    def probe_conditional(self) -> bool:
        return enforces_conditions(ObjectStorage(self.url, self._prefix[:-1], client=self._client, retry=self._retry))
