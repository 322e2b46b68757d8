# except takes several classes without parentheses.
# Needs Python 3.14.
for act in (lambda: 1 / 0, lambda: int("x"), lambda: {}["k"]):
    try:
        act()
    except ZeroDivisionError, ValueError:
        print("number")
    except LookupError:
        print("lookup")
# Writes:
# number
# number
# lookup
