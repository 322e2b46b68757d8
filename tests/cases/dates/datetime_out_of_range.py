# Dates end at the year 9999.
from datetime import date, timedelta

print(date.max - date.min, date(9999, 12, 31).weekday())
date.max + timedelta(days=1)
