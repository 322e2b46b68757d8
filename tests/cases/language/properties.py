# Properties compute, check and delete; cached_property computes once.
from functools import cached_property


class Account:
    def __init__(self):
        self._balance = 0

    @property
    def balance(self):
        """What is there."""
        return self._balance

    @balance.setter
    def balance(self, value):
        if value < 0:
            raise ValueError("negative")
        self._balance = value

    @balance.deleter
    def balance(self):
        self._balance = 0

    @cached_property
    def report(self):
        print("computing")
        return f"balance {self.balance}"


a = Account()
a.balance = 5
print(a.report, a.report, Account.balance.__doc__)
del a.balance, a.report
print(a.report)
try:
    a.balance = -1
except ValueError as error:
    print("refused:", error)
