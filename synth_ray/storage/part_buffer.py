"""What every streamed upload does with the bytes it is given: they are sent in parts of one size."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

PART_BYTES = 16 * 2**20
"""Size of an upload's parts: 10,000 of them, the maximum of S3 and GCS, make 160 GB."""


class PartBuffer(ABC):
    """The writing half of `contract.Upload`. At most one part is in memory."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._sent = 0
        self.closed = False

    def write(self, data: Any) -> int:
        if self.closed:
            raise ValueError("write to an upload that has ended")
        size = memoryview(data).nbytes
        self._buffer += data
        while len(self._buffer) >= PART_BYTES:
            self._send(bytes(self._buffer[:PART_BYTES]))
            del self._buffer[:PART_BYTES]
        return size

    def flush(self) -> None:  # noqa: B027  (every upload is content with it)
        """Nothing to do: a part is sent when it is full."""

    def tell(self) -> int:
        return self._sent + len(self._buffer)

    @abstractmethod
    def _send(self, part: bytes) -> None:
        """Send a part, and count its bytes in `_sent`."""
