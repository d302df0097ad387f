"""`synth-ray view`: serves all rows of a published dataset to a browser of this machine, until Ctrl-C."""

from __future__ import annotations

import argparse
import os
import sys
import webbrowser

from synth_ray.report.reasons import ENTRIES
from synth_ray.storage import open_storage
from synth_ray.view.rows import open_rows
from synth_ray.view.server import ViewServer


def main(arguments: argparse.Namespace) -> int:
    rows = open_rows(open_storage(arguments.prefix))
    try:
        with ViewServer(
            rows, port=arguments.port, meanings={reason.value: entry.meaning for reason, entry in ENTRIES.items()}
        ) as server:
            print(f"rows      {server.url}")
            print("          only on this machine, and only with this address; Ctrl-C ends it", flush=True)
            if not arguments.no_browser and _has_screen():
                webbrowser.open(server.url_for_one_visit)
            server.serve_forever()
    except KeyboardInterrupt:
        print()
    finally:
        rows.close()
    return 0


def _has_screen() -> bool:
    """Without one a browser of text would take the terminal."""
    return not sys.platform.startswith("linux") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
