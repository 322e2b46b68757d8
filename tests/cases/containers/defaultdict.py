# defaultdict groups, counts and nests without checks.
from collections import defaultdict

groups = defaultdict(list)
for word in "apple avocado bean blueberry cherry".split():
    groups[word[0]].append(word)
tree = defaultdict(lambda: defaultdict(int))
for year, month, n in [(2023, "jan", 5), (2023, "feb", 7), (2024, "jan", 1)]:
    tree[year][month] += n
print(
    dict(groups),
    {y: dict(m) for y, m in tree.items()},
    groups.default_factory,
    "z" in groups,
    groups["z"],
    "z" in groups,
)
groups.default_factory = None
groups["missing"]
