"""Law of the guard: no honest work is replaced, and a run that stands still ends."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from synth_ray.drive.progress_guard import ProgressGuard, Stall

looks = st.tuples(st.floats(0.1, 500), st.booleans(), st.sampled_from([True, True, True, False]))


@given(looks=st.lists(looks, max_size=80), patience_s=st.floats(1, 200), replacements=st.integers(0, 3))
def test_only_time_with_work_and_without_progress_is_a_stall(
    looks: list[tuple[float, bool, bool]], patience_s: float, replacements: int
) -> None:
    now, done, silent_s, used, in_a_row = 0.0, 0, 0.0, 0, 0
    guard = ProgressGuard(lambda: now, replacements=replacements)
    guard.look(done, is_held=False, patience_s=patience_s)
    for seconds, has_progressed, is_held in looks:
        now, done = now + seconds, done + has_progressed
        stall = guard.look(done, is_held=is_held, patience_s=patience_s)
        # A long time between two looks is the driver's own: it may have had no chance to hear an answer.
        silent_s = 0.0 if has_progressed or not is_held else silent_s + min(seconds, 30)
        in_a_row = 0 if has_progressed else in_a_row
        if silent_s < patience_s * (1 - 1e-9):
            assert stall is Stall.NONE
        elif stall is Stall.REPLACE:
            used, in_a_row, silent_s = used + 1, in_a_row + 1, 0.0
            assert (in_a_row, used <= replacements) == (1, True)
        elif stall is Stall.STOP:
            silent_s = 0.0
            assert in_a_row == 1 or used == replacements
        else:
            assert silent_s <= patience_s * (1 + 1e-9)


def test_without_patience_nothing_is_ever_a_stall() -> None:
    now = 0.0
    guard = ProgressGuard(lambda: now, replacements=3)
    for _ in range(1000):
        now += 30
        assert guard.look(0, is_held=True, patience_s=0.0) is Stall.NONE
