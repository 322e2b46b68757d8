# calendar prints months, counts weeks and knows leap years.
import calendar

print(calendar.month(2024, 2))
print(
    calendar.monthrange(2023, 2)[1],
    [y for y in range(1896, 1910) if calendar.isleap(y)],
    calendar.leapdays(2000, 2024),
    calendar.weekday(2024, 2, 29),
)
print(
    calendar.Calendar(6).monthdayscalendar(2024, 6)[0],
    calendar.day_name[0],
    calendar.month_abbr[12],
    calendar.timegm((2024, 1, 1, 0, 0, 0)),
)
print(calendar.TextCalendar(calendar.SUNDAY).formatmonth(2023, 10, w=3))
calendar.monthrange(2024, 13)
