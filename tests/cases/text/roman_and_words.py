# Numbers become Roman numerals and English words.
def roman(n):
    out = ""
    for value, mark in zip(
        (1000, 900, 500, 400, 100, 90, 50, 40, 10, 9, 5, 4, 1),
        "M CM D CD C XC L XL X IX V IV I".split(),
    ):
        count, n = divmod(n, value)
        out += mark * count
    return out


small = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()
tens = "twenty thirty forty fifty sixty seventy eighty ninety".split()


def words(n):
    if n < 20:
        return small[n]
    if n < 100:
        return tens[n // 10 - 2] + (f"-{small[n % 10]}" if n % 10 else "")
    if n < 1000:
        return small[n // 100] + " hundred" + (f" and {words(n % 100)}" if n % 100 else "")
    return words(n // 1000) + " thousand" + (f" {words(n % 1000)}" if n % 1000 else "")


print(roman(1994), roman(2024), roman(49), words(342), words(90017), words(21))
