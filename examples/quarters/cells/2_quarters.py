quarter = sales.date.dt.to_period("Q").rename("quarter")
quarters = sales.groupby(quarter)[["orders", "revenue"]].sum().round(2)
quarters["per_order"] = (quarters.revenue / quarters.orders).round(2)
quarters
