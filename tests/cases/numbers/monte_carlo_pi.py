# A seeded simulation: pi by darts, and a random walk.
import random

r = random.Random(1)
inside = sum(r.random() ** 2 + r.random() ** 2 <= 1 for _ in range(20000))
print(4 * inside / 20000)
position, visited = 0, {0}
for _ in range(1000):
    position += r.choice((-1, 1))
    visited.add(position)
print(position, min(visited), max(visited))
births = [len({r.randrange(365) for _ in range(23)}) < 23 for _ in range(500)]
print(sum(births) / 500)
