# The game of life and a flood fill on sets of points.
from collections import Counter


def step(live):
    near = Counter(
        (x + dx, y + dy) for x, y in live for dx in (-1, 0, 1) for dy in (-1, 0, 1) if dx or dy
    )
    return {p for p, n in near.items() if n == 3 or n == 2 and p in live}


glider = {(1, 0), (2, 1), (0, 2), (1, 2), (2, 2)}
for _ in range(4):
    glider = step(glider)
print(sorted(glider))
print("\n".join("".join("#" if (x, y) in glider else "." for x in range(5)) for y in range(5)))
