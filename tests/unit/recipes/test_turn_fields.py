"""`build`: the weights of turns stay with them."""

from __future__ import annotations

from synth_ray.records import Seed
from tests.unit.recipes.fake_teacher import replying, run_recipe

MESSAGES = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "no"}, {"role": "user", "content": "so?"}]
MORE = [{}, {"weight": 0}, {}, {}]


def test_the_fields_of_turns_are_kept_and_stay_aligned_with_them() -> None:
    fields = {"prompt": "so?", "messages": MESSAGES, "answer": "yes", "turn_fields": MORE, "note": "x"}
    for choice, wanted in (({}, MORE), ({"keep": []}, MORE), ({"keep": ["note"], "system": "Be kind."}, [{}, *MORE])):
        [draft] = run_recipe({"name": "build", **choice}, replying(""), from_seed=Seed("s", "s", "train", fields)).drafts
        assert draft.fields["turn_fields"] == wanted
        assert len(draft.prompt) + 1 == len(wanted)
