# Months and days are enumerations.
# Needs Python 3.12.
import calendar

print(
    calendar.Month.MAY, calendar.Day.SUNDAY.value, calendar.FEBRUARY + 1, list(calendar.Day)[0].name
)
# Writes:
# 5 6 3 MONDAY
