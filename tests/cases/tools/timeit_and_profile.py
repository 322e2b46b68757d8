# timeit runs a statement, cProfile counts calls.
import cProfile
import io
import pstats
import timeit

print(
    timeit.timeit("x + 1", "x = 1", number=100) >= 0,
    len(timeit.repeat(lambda: None, number=10, repeat=3)),
)


def leaf():
    return 1


def work():
    return sum(leaf() for _ in range(25))


profile = cProfile.Profile()
print(profile.runcall(work))
stats = pstats.Stats(profile, stream=io.StringIO())
print([c[0] for (_, _, name), c in stats.stats.items() if name == "leaf"])
