# Date-times are parsed, formatted, truncated and compared.
from datetime import datetime, timedelta, timezone

t = datetime.strptime("07/04/2023 15:30:45", "%m/%d/%Y %H:%M:%S")
print(
    t,
    t.isoformat(),
    t.strftime("%I:%M %p %b %-d %y"),
    t.date(),
    t.time(),
    t.replace(minute=0, second=0),
)
print(
    datetime.fromisoformat("2023-07-04T15:30:45.123456+02:00"),
    datetime.fromisoformat("20230704T153045Z"),
    datetime.fromisoformat("2023-W27-2"),
)
print(
    t - datetime(2023, 1, 1),
    (t + timedelta(hours=10)).date(),
    datetime.combine(t.date(), t.time().replace(hour=1)),
    repr(t),
    t.ctime(),
)
print(
    datetime(2023, 7, 4, tzinfo=timezone.utc).timestamp(),
    datetime.fromtimestamp(86400 * 365, timezone.utc),
    datetime(1, 1, 1).isoformat(" ", "minutes"),
)
datetime.strptime("2023-13-01", "%Y-%m-%d")
