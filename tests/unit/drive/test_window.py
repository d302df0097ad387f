from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from synth_ray.drive.window import Window
from synth_ray.records import Request, Seed

SEED = Seed(id="s", lineage="l", split="train", fields={"prompt": "p"})


def requests(chunk: int, n: int) -> list[Request]:
    return [Request(f"{chunk}-{i}", chunk, i, SEED, slots=1) for i in range(n)]


@given(
    size=st.integers(1, 5),
    lengths=st.lists(st.integers(1, 4), min_size=1, max_size=12),
    staged=st.sets(st.integers(0, 11)),
    part=st.sampled_from([(0, 1), (0, 3), (2, 3)]),
    data=st.data(),
)
def test_any_order_of_events_admits_every_chunk_once_in_order_within_the_window(
    size: int, lengths: list[int], staged: set[int], part: tuple[int, int], data: st.DataObject
) -> None:
    """`part` is the first chunk of the window, and how many there are from one chunk of it to the next."""
    first, step = part
    own = range(first, len(lengths), step)
    window = Window(size=size, committed=staged.intersection(range(len(lengths))), frontier=first, step=step)
    staged = staged.intersection(own)
    answers: list[tuple[int, int]] = []
    staging: list[int] = []
    planned: list[int] = []
    admitted: list[int] = []
    while len(admitted) < len(own):
        if (k := window.next_admittable()) is not None:
            window.mark_admitted(k)
            admitted.append(k)
            continue
        can_plan = window.next_chunk < len(lengths) and window.has_room()
        moves = ["plan"] * can_plan + ["answer"] * bool(answers) + ["stage"] * bool(staging)
        match data.draw(st.sampled_from(moves)):
            case "plan":
                k = window.next_chunk
                window.mark_planned(k, requests(k, lengths[k]))
                planned.append(k)
                assert (k - window.frontier) // step < size
                answers += [(k, i) for i in range(lengths[k])]
            case "answer":
                k, i = answers.pop(data.draw(st.integers(0, len(answers) - 1)))
                assert window.mark_answered(k, [i]) == {i}
                assert window.mark_answered(k, [i]) == set()
                if window.is_complete(k):
                    window.begin_staging(k)
                    staging.append(k)
            case "stage":
                window.mark_committed(staging.pop(data.draw(st.integers(0, len(staging) - 1))))
    assert admitted == list(own)
    assert sorted([*planned, *staged]) == list(own)
    assert window.is_idle


def test_a_window_without_a_configured_size_grows_and_a_configured_one_does_not() -> None:
    growing, fixed = Window(size=None), Window(size=2)
    for window in (growing, fixed):
        window.grow_to(40)
        while window.has_room():
            window.mark_planned(window.next_chunk, requests(window.next_chunk, 1))
    assert (growing.next_chunk, fixed.next_chunk) == (40, 2)
