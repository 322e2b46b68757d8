# Time deltas normalise, divide and print.
from datetime import timedelta

d = timedelta(days=1, hours=25, minutes=90, seconds=-30, milliseconds=1500)
print(
    d,
    repr(d),
    d.total_seconds(),
    d.days,
    d.seconds,
    d.microseconds,
    -d,
    abs(timedelta(-1)),
    timedelta(hours=1) * 2.5,
)
print(
    timedelta(days=1) / timedelta(hours=5),
    timedelta(days=1) // timedelta(hours=5),
    timedelta(days=1) % timedelta(hours=5),
    divmod(timedelta(7), timedelta(2)),
    timedelta(weeks=1) / 3,
)
print(
    sum([timedelta(minutes=40)] * 3, timedelta()),
    max(timedelta(1), timedelta(hours=30)),
    timedelta(0) == timedelta(),
    bool(timedelta()),
    timedelta.max,
)
timedelta(1) + 5
