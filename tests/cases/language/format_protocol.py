# Objects format themselves by __format__, __repr__ and __str__.
import datetime


class Money:
    def __init__(self, cents):
        self.cents = cents

    def __format__(self, spec):
        return f"{self.cents / 100:,.2f}{spec and ' ' + spec}"

    def __str__(self):
        return "str"

    def __repr__(self):
        return "Money(%d)" % self.cents


m = Money(123456)
print(f"{m} {m:EUR} {m!r} {m!s} {m!a}", format(m, "USD"), [m])
print(f"{datetime.date(2024, 2, 29):%d.%m.%Y (%a)}", f"{datetime.timedelta(hours=26)!s:>16}")
