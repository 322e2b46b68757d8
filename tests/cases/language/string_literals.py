# Literals: raw, bytes, escapes, concatenation, numbers with underscores.
# fmt: off
print(r"\n\d", "\x41\u00e9\N{BULLET}\101", b"\xff\x00a", "a" "b" 'c"' "d'")
print(1_000_000, 0xFF_FF, 0b1010, 0o17, 1e3, .5, 5., 1e-7, 3j)
text = """line one
  line two \
joined
"""
print(repr(text), len("\\"), "tab\there", ("no", "tuple"), ("str"), ...)
