# A function that returns nothing gives None, which has no methods.
def clean(rows):
    rows.sort()


clean([2, 1]).append(3)
