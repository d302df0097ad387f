from __future__ import annotations

import pytest

from synth_ray.job.scrub import Scrub
from synth_ray.scrub.scrubber import Scrubber, open_scrubber

KEY = {"SYNTH_RAY_SCRUB_KEY": "a key for tests alone"}


@pytest.fixture(scope="session")
def placeholders() -> Scrubber:
    return open_scrubber(Scrub())


@pytest.fixture(scope="session")
def surrogates() -> Scrubber:
    return open_scrubber(Scrub(replace="surrogate"), environment=KEY)
