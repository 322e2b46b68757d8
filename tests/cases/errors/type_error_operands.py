# Operands that do not fit are named by their types.
for text in (
    "1 + 'a'",
    "[] + ()",
    "{} | 1",
    "'a' * 'b'",
    "None + 1",
    "5 // 'x'",
    "'a' < 1",
    "-'a'",
    "1 in 5",
    "len(5)",
    "3()",
    "5[0]",
    "None[0]",
    "{} < {}",
    "not_a / 1",
):
    try:
        print(eval(text))
    except (TypeError, NameError) as error:
        print(text, "->", error)
