import matplotlib.pyplot as plt

table = total.groupby([total.index.quarter, total.index.year]).sum().unstack()
table.index = [f"Q{number}" for number in table.index]
axes = table.plot.bar(rot=0, figsize=(7, 4), width=0.8, title="Revenue by quarter")
axes.legend(title="year")
plt.savefig("/work/revenue.png", dpi=150)
