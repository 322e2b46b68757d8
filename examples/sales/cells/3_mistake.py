by_region = defaultdict(float)
for order in orders:
    if order["date"].startswith("2025"):
        by_region[order["region"]] += order["units"] * float(order["unit_price"])
max(by_region, key=by_region.get)
