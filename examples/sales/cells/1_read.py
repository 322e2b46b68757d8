import csv
from collections import defaultdict

with open("/data/sales.csv", newline="") as file:
    orders = list(csv.DictReader(file))

revenue = defaultdict(float)
for order in orders:
    year, month, _ = order["date"].split("-")
    quarter = f"{year} Q{(int(month) + 2) // 3}"
    revenue[quarter] += int(order["units"]) * float(order["unit_price"])

print(f"{len(orders):,} orders")
for quarter, amount in sorted(revenue.items()):
    print(f"{quarter}  {amount:>12,.2f}")
