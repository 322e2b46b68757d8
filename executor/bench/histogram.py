"""
Percentiles by HDR histogram (three significant digits), as Gil Tene's tools write and read them.
"""

from collections.abc import Iterable
from typing import Any, Final

from executor.bench.contest import Missing

# Figures are kept in millionths of their unit: a millisecond's is a nanosecond.
_SCALE: Final = 1e6
_MOST: Final = 10**15
_DIGITS: Final = 3


def percentile(values: Iterable[float], share: float) -> float:
    """
    The value below which `share` (0 to 100) percent of `values` (one or more) lie.
    """
    return float(_filled(values).get_value_at_percentile(share)) / _SCALE


def encoded(values: Iterable[float]) -> str:
    """
    The histogram of `values` in millionths, as text: HdrHistogram's V2 compressed format, base64.
    """
    return str(_filled(values).encode().decode("ascii"))


def _filled(values: Iterable[float]) -> Any:
    try:
        from hdrh.histogram import HdrHistogram  # noqa: PLC0415 - an extra; reading needs none of it
    except ImportError as error:
        raise Missing("percentiles need hdrhistogram: pip install 'codecage[bench]'") from error
    made = HdrHistogram(1, _MOST, _DIGITS)
    for value in values:
        made.record_value(min(_MOST, max(1, round(value * _SCALE))))
    return made
