by_region = defaultdict(float)
for order in orders:
    if order["date"].startswith("2025"):
        region = order["region"].title()  # the export mixes "North" and "north"
        by_region[region] += int(order["units"]) * float(order["unit_price"])
best = max(by_region, key=by_region.get)
f"best region of 2025: {best}, {by_region[best]:,.2f}"
