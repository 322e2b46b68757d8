import pandas as pd

revenue = pd.read_csv("/work/revenue.csv")
revenue["quarter"] = pd.PeriodIndex(revenue.quarter, freq="Q")
print(f"{len(revenue)} rows, {revenue.quarter.min()} to {revenue.quarter.max()}")
revenue.head(4)
