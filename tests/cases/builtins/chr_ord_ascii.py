# chr, ord, ascii, repr and hash-equal numbers.
print(chr(9731), ord("é"), [ord(c) for c in "aZ0"], chr(0x1F40D), ascii("ñ"), repr("tab\t"))
print(hash(1) == hash(1.0) == hash(True), hash(-1), hash(0.5) == hash(0.5), id(None) == id(None))
chr(0x110000)
