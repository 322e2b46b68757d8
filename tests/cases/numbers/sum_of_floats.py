# sum of floats: what a naive sum gets wrong.
print(sum([0.1] * 3), sum(1 / 1.1**n for n in range(1, 6)), sum([0.1] * 3, 1))
