# Notes added to an exception stay with it.
def parse(rows):
    for number, row in enumerate(rows, 1):
        try:
            yield float(row)
        except ValueError as error:
            error.add_note(f"in row {number}")
            error.add_note(f"the row was {row!r}")
            raise


try:
    print(list(parse(["1.5", "abc"])))
except ValueError as error:
    print(error, error.__notes__)
