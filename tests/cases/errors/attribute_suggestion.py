# A misspelt attribute is an AttributeError that suggests the right one.
import traceback


class Account:
    def __init__(self):
        self.balance = 0


try:
    Account().balanc
except AttributeError as error:
    print(error.name, type(error.obj).__name__, traceback.format_exc().splitlines()[-1])
Account().deposit(5)
