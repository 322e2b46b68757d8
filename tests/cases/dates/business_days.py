# Working days, month ends, quarters and ages.
import calendar
from datetime import date, timedelta

holidays = {date(2024, 1, 1), date(2024, 1, 15)}
days = [date(2024, 1, 1) + timedelta(n) for n in range(31)]
work = [d for d in days if d.weekday() < 5 and d not in holidays]
print(len(work), work[0], work[-1])
print(
    [date(2024, m, calendar.monthrange(2024, m)[1]).isoformat() for m in (2, 4)],
    [(m - 1) // 3 + 1 for m in (1, 3, 4, 12)],
)
age = lambda born, on: on.year - born.year - ((on.month, on.day) < (born.month, born.day))
print(age(date(2000, 2, 29), date(2024, 2, 28)), age(date(2000, 2, 29), date(2024, 2, 29)))
fridays = [
    d for d in (date(y, m, 13) for y in (2023, 2024) for m in range(1, 13)) if d.weekday() == 4
]
print(*fridays)
