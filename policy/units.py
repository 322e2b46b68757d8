"""
The one grammar of sizes and times.

A size is a whole number of bytes, or a whole number followed by Ki, Mi or Gi (1024, 1024**2,
1024**3). A time is a whole or decimal number followed by ms, s, m or h. There is no `1GB`, whose
size depends on the reader, no `1e9`, no sign, no space and no `inf`: a limit is finite.

Source of the prefixes: IEC 80000-13.
"""

import re

KIB, MIB, GIB = 2**10, 2**20, 2**30

SIZE_FORMS = "a size is a whole number of bytes, or one with Ki, Mi or Gi: 65536, 64Ki, 512Mi"
TIME_FORMS = "a time is a number with ms, s, m or h: 500ms, 30s, 1.5s, 15m"


def parse_size(text: str) -> int | None:
    """
    The bytes that `text` says (0 to 10**12 times its unit), or None where it is no size.
    """
    found = _SIZE.fullmatch(text)
    return int(found[1]) * _SIZE_UNITS[found[2]] if found else None


def parse_time(text: str) -> float | None:
    """
    The seconds that `text` says (0 to 10**6 times its unit), or None where it is no time.
    """
    found = _TIME.fullmatch(text)
    return round(float(found[1]) * _TIME_UNITS[found[2]], 6) if found else None


def show_size(size: int) -> str:
    """
    The shortest text that `parse_size` reads as `size` bytes.
    """
    for unit in ("Gi", "Mi", "Ki"):
        if size and size % _SIZE_UNITS[unit] == 0:
            return f"{size // _SIZE_UNITS[unit]}{unit}"
    return str(size)


def show_time(seconds: float) -> str:
    """
    A text that `parse_time` reads as `seconds`, which is a whole number of milliseconds.
    """
    milliseconds = round(seconds * 1000)
    for unit, size in (("h", 3_600_000), ("m", 60_000), ("s", 1000)):
        if milliseconds and milliseconds % size == 0:
            return f"{milliseconds // size}{unit}"
    return f"{milliseconds}ms"


_SIZE_UNITS = {"": 1, "Ki": KIB, "Mi": MIB, "Gi": GIB}
_TIME_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_SIZE = re.compile(r"(0|[1-9][0-9]{0,12})(|Ki|Mi|Gi)", re.ASCII)
_TIME = re.compile(r"((?:0|[1-9][0-9]{0,6})(?:\.[0-9]{1,3})?)(ms|s|m|h)", re.ASCII)
