# Dates add, subtract, compare and name their week.
from datetime import date, timedelta

d = date(2024, 2, 28)
print(
    d + timedelta(days=2),
    date(2024, 12, 25) - d,
    d.replace(year=2023),
    d.weekday(),
    d.isoweekday(),
    d.isocalendar(),
    d.toordinal(),
)
print(
    d.strftime("%A %d %B %Y, day %j, week %W"),
    d.isoformat(),
    date.fromisoformat("2024-03-01") > d,
    date.min,
    date.max,
    d.timetuple().tm_yday,
)
print(
    [str(d + timedelta(weeks=w)) for w in range(3)],
    date.fromisocalendar(2024, 9, 3),
    sorted([date(2024, 1, 2), date(2023, 5, 6)])[0],
)
date(2023, 2, 29)
