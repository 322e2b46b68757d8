by_year = quarters.revenue.groupby([quarters.index.quarter, quarters.index.year]).sum().unstack()
by_year.index = [f"Q{number}" for number in by_year.index]
by_year["change"] = by_year[2025] / by_year[2024] - 1
print(by_year.to_string(float_format="{:,.2f}".format, formatters={"change": "{:+.1%}".format}))
best = by_year.change.idxmax()
f"best quarter of 2025 against the year before: {best}, {by_year.change[best]:+.1%}"
