# Counter counts, adds, subtracts, and ranks.
from collections import Counter

c = Counter("mississippi")
print(c.most_common(2), c["z"], sorted(c.elements())[:5], c.total())
print(
    sorted((c - Counter("miss")).items()),
    sorted((Counter(a=3, b=1) & Counter(a=1, b=2)).items()),
    sorted((Counter(a=1) | Counter(a=2, b=1)).items()),
)
c.subtract("miss")
c.update({"z": 2})
print(c["s"], c["z"], +Counter(a=-1, b=2), Counter(a=1, b=0) == Counter(a=1), Counter([1, 1, 2]))
