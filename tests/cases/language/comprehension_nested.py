# Nested comprehensions flatten, filter and transpose a table.
table = [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
flat = [cell for row in table for cell in row if cell % 2]
turned = [[row[i] for row in table] for i in range(3)]
by_sum = {sum(row): [c * c for c in row] for row in table}
pairs = {(a, b) for a in range(3) for b in range(a)}
print(flat, turned, by_sum, sorted(pairs), sep="\n")
