"""
Writes sales.csv: the invented sales of a shop by day over two years, the same bytes every time.

One row a day: the date, the number of orders, and the revenue. The figures have a season, a week
and a growth; four days are missing, as the days of a stocktaking are.
"""

import csv
import datetime
import math
import random
from pathlib import Path

SEASON = [0.8, 0.8, 0.9, 1.0, 1.0, 0.9, 0.7, 0.8, 1.1, 1.2, 1.5, 1.4]
WEEK = [1.0, 0.9, 0.9, 1.0, 1.3, 1.6, 0.4]
STOCKTAKING = {(1, 2), (7, 1)}
GROWTH = 1.14
ORDER = 86.0


def main():
    chance = random.Random(20260102)
    with Path(__file__).with_name("sales.csv").open("w", newline="") as target:
        writer = csv.writer(target, lineterminator="\n")
        writer.writerow(["date", "orders", "revenue"])
        writer.writerows(filter(None, (row(chance, date) for date in days())))


def days():
    first = datetime.date(2024, 1, 1)
    return (first + datetime.timedelta(days=day) for day in range(366 + 365))


def row(chance, date):
    expected = 20 * SEASON[date.month - 1] * WEEK[date.weekday()] * GROWTH ** (date.year - 2024)
    orders = max(0, round(chance.gauss(expected, math.sqrt(expected))))
    revenue = sum(chance.lognormvariate(math.log(ORDER), 0.5) for _ in range(orders))
    if (date.month, date.day) in STOCKTAKING:
        return None
    return [date.isoformat(), orders, f"{revenue:.2f}"]


if __name__ == "__main__":
    main()
