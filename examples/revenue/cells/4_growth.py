# The quarters of two years have different labels, so the division found no pairs: shift by a year.
growth = (total / total.shift(4) - 1).dropna()
print(growth.map("{:+.1%}".format).to_string())
f"best against the year before: {growth.idxmax()}, {growth.max():+.1%}"
