"""A process that stages chunks again: it receives the job, then chunk numbers; it sends a chunk, or the error, for each."""

from __future__ import annotations

import signal
import sys
import traceback
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from synth_ray.dataset.ledger import CommittedChunk, Ledger
from synth_ray.errors import SynthRayError
from synth_ray.job.document import Job
from synth_ray.storage.job_files import open_output
from synth_ray.workers.restaging import restaged_here
from synth_ray.workers.row_stages import RowStages


def serve(connection: Connection) -> None:
    """Until the other end closes its connection or ends."""
    job: Job = connection.recv()
    load = restaged_here(Ledger(open_output(job.output)), RowStages(job).run_again)
    while True:
        try:
            chunk: int = connection.recv()
        except EOFError:
            return
        answer: CommittedChunk | SynthRayError
        try:
            answer = load(chunk)
        except SynthRayError as error:
            answer = error
        except Exception as error:
            # Its message may quote a row: its type and where it was raised go on.
            place = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno}"
            answer = SynthRayError(f"chunk {chunk}: wanted it staged again, got {where}")
        connection.send(answer)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C reaches the whole group: the curating process decides
    with suppress(ConnectionError):
        serve(Connection(int(sys.argv[1])))
