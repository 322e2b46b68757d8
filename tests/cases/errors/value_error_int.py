# Text that is not a number, with what it was.
for text in ("3.7", "", "1e3", " 5 ", "five"):
    try:
        print(int(text))
    except ValueError as error:
        print(error)
float("1,234.5")
