# A CSV file is summed by group, and a short row is found.
import csv
from collections import defaultdict

with open("sales.csv", "w", newline="") as f:
    f.write("region,amount\nnorth,10.5\nsouth,7\nnorth,2.25\neast\nsouth,abc\n")
totals, bad = defaultdict(float), []
with open("sales.csv", newline="") as f:
    for row in csv.DictReader(f):
        try:
            totals[row["region"]] += float(row["amount"])
        except (TypeError, ValueError) as error:
            bad.append((row["region"], type(error).__name__))
print(dict(totals), bad)
with open("out.csv", "w", newline="") as f:
    w = csv.DictWriter(f, ["region", "total"], extrasaction="raise")
    w.writeheader()
    w.writerow({"region": "north", "total": totals["north"]})
print(open("out.csv").read())
csv.DictWriter(open("x.csv", "w"), ["a"]).writerow({"a": 1, "b": 2})
