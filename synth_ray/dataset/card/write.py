"""Writes `README.md`: the header, then the sections, what a reader looks for first at the top."""

from __future__ import annotations

from typing import Any

import yaml

from synth_ray.dataset.card.examples import example_lines
from synth_ray.dataset.card.head import head_of
from synth_ray.dataset.card.limits import limits_of
from synth_ray.dataset.card.made import filter_lines, made_lines
from synth_ray.dataset.card.markdown import literal, without_folders
from synth_ray.dataset.card.provenance import licence_lines, provenance_lines
from synth_ray.dataset.card.quality import quality_lines
from synth_ray.dataset.card.rows import row_lines, warnings
from synth_ray.dataset.examples import read_examples
from synth_ray.dataset.loading import loading_instructions
from synth_ray.dataset.manifest import Manifest
from synth_ray.errors import Conflict
from synth_ray.storage import Storage

PATH = "README.md"


def write_unfinished_card(storage: Storage, *, name: str) -> None:
    """Write a card that says that the dataset is unfinished, unless the card of an earlier version is there."""
    # An empty list makes `datasets` refuse the folder. Without a list it would load any Parquet file it finds.
    head = {"pretty_name": name, "configs": [{"config_name": "default", "data_files": []}]}
    unfinished = "**This dataset is unfinished.** A run is writing it, or stopped. No file here is a result yet."
    try:
        storage.create(PATH, _card(head, f"# {literal(name)}\n\n{unfinished}\n"))
    except Conflict:
        return


def write_card(storage: Storage, manifest: Manifest, *, endpoint_url: str | None = None) -> None:
    """Describe the version just published. It lists its files one by one, so that old and new versions never mix."""
    storage.write(PATH, card_bytes(storage, manifest, url=storage.url, endpoint_url=endpoint_url))


def card_bytes(storage: Storage, manifest: Manifest, *, url: str, endpoint_url: str | None = None) -> bytes:
    """The card of a dataset whose examples are in `storage`, as it reads at `url`."""
    lines = [*_opening(manifest), *example_lines(read_examples(storage, manifest)), *_sections(manifest)]
    body = "\n".join([*lines, "## Load it", "", *loading_instructions(url, endpoint_url)])
    return _card(head_of(manifest), body)


class _Plain(yaml.SafeDumper):
    """YAML without anchors and aliases, because people read the card's header too."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _card(head: dict[str, Any], body: str) -> bytes:
    head_yaml = yaml.dump(head, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=1000)
    return f"---\n{head_yaml}---\n\n{body}".encode("utf-8", "replace")


def _opening(m: Manifest) -> list[str]:
    lines = [f"# {literal(m.name)}", "", *warnings(m)]
    lines += [m.description, ""] if m.description else []
    splits = ", ".join(f"{name} {n:,}" for name, n in m.splits.items())
    made = f"made by {literal(without_folders(m.teacher))}" if m.teacher != "none" else "made without a teacher"
    counts = f"{sum(m.splits.values()):,} rows" + (f" ({splits})" if splits else "")
    return [*lines, f"{counts}, {made} with the recipe `{m.recipe}`.", ""]


def _sections(m: Manifest) -> list[str]:
    return [
        *row_lines(m),
        *quality_lines(m),
        "## Known limits",
        "",
        *(f"- {literal(sentence)}" for sentence in limits_of(m)),
        "",
        *made_lines(m),
        *filter_lines(m),
        *licence_lines(m),
        *provenance_lines(m),
    ]
