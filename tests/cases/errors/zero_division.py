# Every kind of division by zero.
for text in ("1 / 0", "1 // 0", "1 % 0", "divmod(1, 0)", "1.5 // 0"):
    try:
        eval(text)
    except ZeroDivisionError as error:
        print(type(error).__name__)
mean = sum([]) / len([])
