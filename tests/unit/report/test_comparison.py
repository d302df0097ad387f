"""Two datasets side by side: what differs, and when figures are not comparable."""

from __future__ import annotations

from copy import deepcopy

from synth_ray.report.comparison import compare, comparison_page, comparison_text
from tests.report_data import ACCEPTED, full_manifest, hostile_manifest, old_manifest

NAMES = ("out/a", "out/b")


def cells(ours: object, theirs: object) -> dict[str, tuple[str, str, str]]:
    compared = compare(ours, theirs, names=NAMES)  # type: ignore[arg-type]
    return {f"{id} {name}": values for id, _, lines in compared.groups for name, *values in (line.cells() for line in lines)}  # type: ignore[misc]


def test_shares_differ_in_points_amounts_in_per_cent_and_measures_in_their_own_unit() -> None:
    ours, theirs = full_manifest(), full_manifest()
    theirs["rows"] = theirs["rows"] | {
        "accepted": ACCEPTED - 100,
        "rejected": theirs["rows"]["rejected"] | {"near_duplicate": 231},
    }
    theirs["narrowing"]["openers"]["value"] = 0.012
    theirs["cost"] = theirs["cost"] | {"usd_per_1k_accepted": 0.3049, "wall_s": 206.2}
    found = cells(ours, theirs)
    assert found["funnel share accepted"] == ["63.8 %", "58.8 %", "+5.0 points"]
    assert found["funnel rejected: almost repeats a kept row"] == ["6.6 %", "11.6 %", "-5.0 points"]
    assert found["funnel rejected: repeats a kept row"][2] == "same"
    assert found["narrowing Same openings"] == ["0.112", "0.012", "+0.100"]
    assert found["cost $ per 1,000 accepted rows"] == ["$0.61", "$0.30", "+100.0 %"]
    assert found["cost wall time of the last run"] == ["6 min 52 s", "3 min 26 s", "+100.0 %"]
    assert found["splits train"][2] == "same" and found["classes refund"][2] == "same"


def test_what_is_not_comparable_is_said() -> None:
    ours, theirs = full_manifest(), full_manifest()
    assert compare(ours, theirs, names=NAMES).notes == ["Both have the same rows."]
    theirs |= {"dataset_digest": "other", "recipe": "fill", "complete": False}
    theirs["reference"] = theirs["reference"] | {"source": "seeds"}
    theirs["tstr"] = theirs["tstr"] | {"test_rows": 20}
    notes = " ".join(compare(ours, theirs, names=NAMES).notes)
    for word in (
        "B is not complete",
        "recipe differs: vary and fill",
        "decided differently",
        "other real rows",
        "F1 is not comparable",
    ):
        assert word in notes


def test_a_comparison_with_an_old_manifest_leaves_out_what_one_of_them_lacks() -> None:
    groups = [id for id, _, _ in compare(full_manifest(), old_manifest(), names=NAMES).groups]
    assert groups == ["funnel", "splits", "usefulness", "cost"]
    assert "nan" not in comparison_page(old_manifest(), full_manifest(), names=NAMES).lower()


def test_the_text_fits_a_terminal_and_the_page_is_always_the_same() -> None:
    for theirs in (old_manifest(), hostile_manifest()):
        assert max(map(len, comparison_text(full_manifest(), theirs, names=NAMES).splitlines())) <= 100
    made = {comparison_page(deepcopy(full_manifest()), old_manifest(), names=NAMES) for _ in range(2)}
    assert len(made) == 1
