"""
How far a share of successes may be by chance from the one that would be found for ever.
"""

import math

_Z = 1.959964  # 95 %, both sides


def interval(successes: int, count: int) -> tuple[float, float]:
    """
    The 95 % interval for `successes` of `count` (1 or more), as shares from 0 to 1.

    Source: Wilson, "Probable inference, the law of succession, and statistical inference" (1927).
    It holds for small numbers and near 0 and 1, where the textbook's does not.
    """
    share, weight = successes / count, _Z * _Z / count
    middle = share + weight / 2
    spread = math.sqrt(share * (1 - share) * weight + weight * weight / 4)
    low, high = ((middle + side * spread) / (1 + weight) for side in (-1, 1))
    return max(0.0, low), min(1.0, high)
