# f-strings nest quotes, backslashes, comments and lines.
# Needs Python 3.12.
names = ["a", "b"]
print(f"{', '.join(names)} {'\n'.join(names)!r} {f'{f"{1 + 1}"}'}")
print(
    f"{
        sum([1, 2])  # a comment
    }"
)
# Writes:
# a, b 'a\nb' 2
# 3
