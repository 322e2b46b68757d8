total = revenue.groupby("quarter").revenue.sum()
total.tail(4)
