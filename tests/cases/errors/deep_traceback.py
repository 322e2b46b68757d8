# The lines of a traceback lead from the cell to the mistake.
class Report:
    def __init__(self, rows):
        self.rows = rows

    def total(self):
        return sum(self.amount(row) for row in self.rows)

    @staticmethod
    def amount(row):
        price, count = row["price"], row["count"]
        return price * count


report = Report([{"price": 2, "count": 3}, {"price": 1}])
report.total()
