# What counts as a digit, a letter, a space, an identifier.
samples = [
    "12",
    "1.2",
    "½",
    "²",
    "abc",
    "abc1",
    "ABC",
    "Abc Def",
    " \t",
    "",
    "é",
    "٣",
    "a_b",
    "class",
]
for s in samples:
    print(
        repr(s),
        s.isdigit(),
        s.isdecimal(),
        s.isnumeric(),
        s.isalpha(),
        s.isalnum(),
        s.isupper(),
        s.istitle(),
        s.isspace(),
        s.isidentifier(),
        s.isascii(),
    )
