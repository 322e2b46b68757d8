import pandas as pd

sales = pd.read_csv("/data/sales.csv", parse_dates=["date"])
print(f"{len(sales)} days from {sales.date.min():%Y-%m-%d} to {sales.date.max():%Y-%m-%d}")
sales.describe().round(2)
