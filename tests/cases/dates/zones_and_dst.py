# Zones know daylight saving: gaps, folds and conversions.
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

paris, ny = ZoneInfo("Europe/Paris"), ZoneInfo("America/New_York")
t = datetime(2022, 3, 27, 1, 30, tzinfo=paris)
print(
    t,
    t + timedelta(hours=1),
    (t.astimezone(timezone.utc) + timedelta(hours=1)).astimezone(paris),
    t.tzname(),
    t.dst(),
)
fold = datetime(2022, 11, 6, 1, 30, tzinfo=ny)
print(
    fold.utcoffset(),
    fold.replace(fold=1).utcoffset(),
    fold.astimezone(ZoneInfo("Asia/Tokyo")),
    fold.replace(fold=1).astimezone(timezone.utc),
)
print(
    datetime(2022, 7, 1, 12, tzinfo=ny) == datetime(2022, 7, 1, 18, tzinfo=paris),
    str(paris),
    ZoneInfo("UTC").utcoffset(t),
)
print(
    [datetime(2022, m, 1, tzinfo=ZoneInfo("Australia/Lord_Howe")).strftime("%z") for m in (1, 7)],
    timezone(timedelta(hours=-3.5)),
    datetime(2022, 1, 1, tzinfo=timezone(timedelta(hours=5), "X")).tzname(),
)
