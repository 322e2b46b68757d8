# A schedule by rule: the second Tuesday, every ten days, ISO weeks.
import calendar
from datetime import date, datetime, time, timedelta

second = [
    [d for d in calendar.Calendar().itermonthdates(2024, m) if d.month == m and d.weekday() == 1][1]
    for m in range(1, 5)
]
print(*second)
start = datetime(2024, 2, 20, 9)
print([(start + timedelta(days=10 * n)).strftime("%d.%m. %H:%M") for n in range(4)])
print(
    {date(y, 1, 1).isocalendar().week for y in range(2015, 2025)} == {1, 52, 53},
    time(9, 30) < time(10),
    time.fromisoformat("09:30:15").minute,
)
slots = [f"{h:02}:{m:02}" for h in range(9, 11) for m in (0, 30)]
print(slots)
