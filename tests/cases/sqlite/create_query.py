# A table is made, filled with parameters, and queried.
import sqlite3

db = sqlite3.connect(":memory:")
db.execute("create table sales (id integer primary key, region text, amount real, day date)")
db.executemany(
    "insert into sales (region, amount, day) values (?, ?, ?)",
    [("north", 10.5, "2024-01-01"), ("south", 7, "2024-01-02"), ("north", 2.25, None)],
)
db.commit()
for row in db.execute(
    "select region, sum(amount), count(day) from sales group by region order by 2 desc"
):
    print(row)
c = db.execute("select * from sales where amount > :low", {"low": 5})
print([d[0] for d in c.description], c.fetchone(), c.fetchall(), c.fetchone(), db.total_changes)
print(
    db.execute(
        "select upper('a') || length('héé'), 7/2, 7/2.0, null is null, date('2024-01-31', '+1 month')"
    ).fetchone()
)
db.execute("select * from nowhere")
