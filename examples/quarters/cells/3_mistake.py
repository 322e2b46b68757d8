by_year = quarters.revenue.unstack()
by_year["change"] = by_year[2025] / by_year[2024] - 1
