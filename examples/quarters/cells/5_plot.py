import matplotlib.pyplot as plt

figure, axes = plt.subplots(figsize=(7, 4))
by_year[[2024, 2025]].plot.bar(ax=axes, rot=0, width=0.75)
for bars, change in zip(axes.containers[1], by_year.change):
    axes.annotate(
        f"{change:+.0%}",
        (bars.get_x() + bars.get_width() / 2, bars.get_height()),
        ha="center",
        va="bottom",
    )
axes.set(title="Revenue by quarter", ylabel="revenue")
axes.yaxis.set_major_formatter("{x:,.0f}")
axes.legend(title="year")
figure.savefig("/work/quarters.png", dpi=150)
plt.show()
