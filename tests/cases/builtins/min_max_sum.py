# min, max and sum with keys, defaults and starts.
words = ["pear", "fig", "banana", "kiwi"]
print(
    min(words, key=len),
    max(words, key=len),
    max([], default="none"),
    sum([[1], [2]], []),
    sum([0.5] * 3, 1),
)
print(
    max("a", "B", key=str.lower),
    min({"b": 1, "a": 2}),
    max(3, 2.5, True),
    sum(len(w) for w in words),
)
max([])
