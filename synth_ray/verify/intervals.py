"""The interval of a share."""

from __future__ import annotations

import math

Z_95 = 1.959963984540054
"""The standard normal quantile of a two-sided 95 % interval."""


def wilson(successes: float, n: float, *, z: float = Z_95) -> tuple[float, float]:
    """The score interval of a share (Wilson, 1927, JASA 22:209-212); (0, 1) of nothing. It stays within 0 and 1, holds the share,
    and is right for few trials too. `n` may be an effective number of trials.
    """
    if not n:
        return 0.0, 1.0
    share, z2 = successes / n, z * z
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = z * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    low = 0.0 if successes == 0 else max(0.0, middle - half)
    return min(low, share), 1.0 if successes == n else max(share, min(1.0, middle + half))
