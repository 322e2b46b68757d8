# The methods of str that clean and cut text.
s = "  Hello, World  "
print(
    s.strip(),
    s.lstrip() + "|",
    s.lower().split(","),
    s.replace("l", "L", 2),
    s.find("World"),
    s.count("o"),
)
print(
    "a,b,,c".split(","),
    "a b  c".split(),
    "a-b-c".rsplit("-", 1),
    "k=v=w".partition("="),
    "x".join("abc"),
    "a\nb\r\nc".splitlines(),
)
print(
    "title case it's".title(),
    "swap".swapcase(),
    "ab".center(6, "*"),
    "7".zfill(3),
    "-7".zfill(4),
    "tab\tx".expandtabs(4),
)
print(
    "prefix_name".removeprefix("prefix_"),
    "a.tar.gz".removesuffix(".gz"),
    "abc".startswith(("x", "a")),
    "Straße".casefold(),
    "ß".upper(),
)
"abc".index("z")
