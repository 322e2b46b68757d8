# translate maps, deletes and expands characters.
table = str.maketrans({"a": "4", "e": "3", "!": None, "&": "and"})
print("leave a & message!".translate(table))
print(
    "hello".translate(str.maketrans("lo", "01", "h")),
    "rot".translate({ord(c): chr((ord(c) - 97 + 13) % 26 + 97) for c in "rot"}),
)
print(b"bytes too".translate(bytes.maketrans(b"bt", b"BT"), delete=b"s"))
