# f-strings align, group, round, nest and show their own text.
name, value, width = "total", 1234567.891, 14
print(f"{name:>10}|{name:<10}|{name:^10}|{name:*^11}|")
print(f"{value:,.2f} {value:_.0f} {value:e} {value:.3g} {value:>{width}.1f} {value:%}")
print(f"{42:#x} {42:#b} {42:08b} {42:+d} {-42: d} {1000000:,} {255:o}")
print(f"{value=:.1f} {name=} {name!r:>9} {3 + 4 = }")
print(f"{{literal}} {'a' if value > 1 else 'b'} {[x**2 for x in range(3)]} {name[1:3].upper()}")
print(
    "{0:{1}} {kind!s}".format(3.14159, ".2f", kind=None), "%-6s|%05d|%.2e" % ("ab", 42, 12345.678)
)
