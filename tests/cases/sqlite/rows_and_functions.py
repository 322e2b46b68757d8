# Rows by name, own functions, aggregates and collations.
import sqlite3

db = sqlite3.connect(":memory:")
db.row_factory = sqlite3.Row


class Median:
    def __init__(self):
        self.values = []

    def step(self, value):
        self.values.append(value)

    def finalize(self):
        return sorted(self.values)[len(self.values) // 2]


db.create_function("double", 1, lambda x: x * 2, deterministic=True)
db.create_aggregate("median", 1, Median)
db.create_collation("rev", lambda a, b: (a < b) - (a > b))
db.executescript("create table t(n, s); insert into t values (1,'a'),(5,'b'),(9,'c');")
row = db.execute("select double(n) as d, s from t").fetchone()
print(
    row["d"],
    row.keys(),
    tuple(row),
    db.execute("select median(n) from t").fetchone()[0],
    [r["s"] for r in db.execute("select s from t order by s collate rev")],
)
db.execute("select double(1, 2)")
