"""
Writes sales.csv: invented orders of a small shop over two years, the same bytes every time.

The figures have a season, a growth that differs between regions, and a few rows of the kind that
real exports have: a cancelled order with zero units, and a region in lower case.
"""

import csv
import datetime
import random
from pathlib import Path

PRODUCTS = {"desk lamp": 39.0, "office chair": 189.0, "standing desk": 449.0, "monitor arm": 79.0}
REGIONS = {"north": 1.18, "south": 1.05, "east": 0.94, "west": 1.31}
SEASON = [0.8, 0.8, 0.9, 1.0, 1.0, 0.9, 0.7, 0.8, 1.1, 1.2, 1.5, 1.4]


def main():
    chance = random.Random(20260101)
    rows = []
    for year in (2024, 2025):
        for day in range(366 if year == 2024 else 365):
            date = datetime.date(year, 1, 1) + datetime.timedelta(days=day)
            for _ in range(round(4 * SEASON[date.month - 1] + chance.random())):
                rows.append(order(chance, date))
    with Path(__file__).with_name("sales.csv").open("w", newline="") as target:
        writer = csv.writer(target, lineterminator="\n")
        writer.writerow(["date", "region", "product", "units", "unit_price"])
        writer.writerows(rows)


def order(chance, date):
    product = chance.choice(list(PRODUCTS))
    region = chance.choice(list(REGIONS))
    growth = REGIONS[region] if date.year == 2025 else 1.0
    units = 0 if chance.random() < 0.01 else max(1, round(chance.gauss(3, 1.2) * growth))
    shown = region if chance.random() < 0.02 else region.title()
    return [date.isoformat(), shown, product, units, f"{PRODUCTS[product]:.2f}"]


if __name__ == "__main__":
    main()
