# A seeded generator gives the same numbers on every machine.
import random

random.seed(2024)
print(
    random.random(),
    random.randint(1, 6),
    random.uniform(0, 10),
    random.choice("abcdef"),
    random.randrange(0, 100, 5),
)
deck = list(range(10))
random.shuffle(deck)
print(
    deck,
    random.sample(range(1000), 4),
    random.choices("xyz", weights=[5, 1, 1], k=6),
    random.getrandbits(70),
)
own = random.Random("seed text")
print(own.random(), random.Random(b"bytes").randbytes(4), own.choice([1, 2, 3]))
state = own.getstate()
first = own.random()
own.setstate(state)
print(first == own.random())
