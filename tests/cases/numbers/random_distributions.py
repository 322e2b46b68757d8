# Distributions of a seeded generator, to ten digits.
import random

r = random.Random(7)
draws = [
    r.gauss(0, 1),
    r.normalvariate(5, 2),
    r.expovariate(0.5),
    r.betavariate(2, 3),
    r.gammavariate(2, 1),
    r.triangular(0, 10, 3),
    r.lognormvariate(0, 0.5),
    r.paretovariate(3),
    r.weibullvariate(1, 2),
    r.vonmisesvariate(0, 4),
]
print(*(f"{d:.10g}" for d in draws), sep="\n")
