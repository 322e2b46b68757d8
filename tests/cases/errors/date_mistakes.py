# Mistakes with dates: formats, types and ranges.
from datetime import date, datetime, timedelta

for act in (
    lambda: datetime.strptime("2024-01-02", "%d/%m/%Y"),
    lambda: datetime(2024, 13, 1),
    lambda: datetime(2024, 1, 1, 25),
    lambda: date.fromisoformat("01.02.2024"),
    lambda: datetime.strptime("2024-01-02 10", "%Y-%m-%d"),
):
    try:
        act()
    except ValueError as error:
        print(error)
datetime(2024, 1, 1) - 5
