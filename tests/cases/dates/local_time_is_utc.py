# Local time is UTC where nothing else is said.
import time
from datetime import datetime, timezone

print(time.timezone, time.tzname[0], time.localtime(0).tm_hour, datetime.fromtimestamp(0))
print(
    datetime(2024, 6, 1).astimezone().utcoffset(),
    datetime.fromtimestamp(0, timezone.utc).astimezone().tzname(),
)
