# Patterns over text beyond ASCII, and over bytes.
import re

text = "Ελλάδα, Москва 東京 ١٢٣ café_1"
print(
    re.findall(r"\w+", text),
    re.findall(r"\d+", text),
    re.search("МОСКВА", text, re.I)[0],
    re.findall(r"[α-ωά]+", text),
)
print(
    re.findall(rb"\w+", b"caf\xe9 ok"),
    re.split(rb"\r?\n", b"a\r\nb\nc"),
    re.sub("(?i)straße", "X", "STRASSE Straße"),
    re.match(r"\N{BULLET}\u2022", "••") is not None,
)
re.search(r"\w", b"bytes")
