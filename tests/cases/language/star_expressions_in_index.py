# Tuples as keys, nested containers, and setdefault build a sparse grid.
grid = {}
for x, y, value in [(0, 0, "a"), (0, 2, "b"), (5, -1, "c"), (0, 2, "d")]:
    grid.setdefault((x, y), []).append(value)
print(grid)
rows = {}
for (x, y), values in grid.items():
    rows.setdefault(x, {})[y] = "".join(values)
print(rows, (0, 2) in grid, grid.get((9, 9), "none"))
print(max(grid, key=lambda k: (len(grid[k]), k)))
