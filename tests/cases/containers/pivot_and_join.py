# Rows are grouped, pivoted and joined with plain dictionaries.
from collections import defaultdict
from itertools import groupby

sales = [
    ("north", "q1", 10),
    ("south", "q1", 7),
    ("north", "q2", 12),
    ("south", "q2", 5),
    ("north", "q1", 3),
]
pivot = defaultdict(lambda: defaultdict(int))
for region, quarter, amount in sales:
    pivot[region][quarter] += amount
for region, quarters in sorted(pivot.items()):
    print(f"{region:<6}", *(f"{quarters[q]:>4}" for q in ("q1", "q2")), sum(quarters.values()))
managers = {"north": "Ann"}
print(
    [
        (r, managers.get(r, "?"), sum(a for *_, a in g))
        for r, g in groupby(sorted(sales), key=lambda s: s[0])
    ]
)
total = sum(a for *_, a in sales)
print({q: f"{sum(a for _, x, a in sales if x == q) / total:.1%}" for q in ("q1", "q2")})
