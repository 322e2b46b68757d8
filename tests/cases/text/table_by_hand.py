# A table is laid out with padded columns, as reports do.
rows = [("item", "qty", "price"), ("apple", 3, 1.5), ("banana", 12, 0.25), ("cherry", 100, 12.0)]
widths = [
    max(len(f"{row[i]:.2f}" if isinstance(row[i], float) else str(row[i])) for row in rows)
    for i in range(3)
]
for n, row in enumerate(rows):
    cells = [
        f"{c:>{w}.2f}"
        if isinstance(c, float)
        else f"{c:>{w}}"
        if isinstance(c, int)
        else f"{c:<{w}}"
        for c, w in zip(row, widths)
    ]
    print(" | ".join(cells))
    if n == 0:
        print("-+-".join("-" * w for w in widths))
print(f"{'total':<{widths[0]}} = {sum(q * p for _, q, p in rows[1:]):.2f}")
