# Calls with the wrong arguments say which.
def area(width, height, *, unit="m"):
    return width * height


for call in (
    lambda: area(1),
    lambda: area(),
    lambda: area(1, 2, 3),
    lambda: area(1, 2, color=1),
    lambda: area(1, width=2),
    lambda: area(*5),
    lambda: area(**[1]),
):
    try:
        call()
    except TypeError as error:
        print(str(error).replace("__main__.", ""))
area(1, 2, "cm")
