# Transactions commit, roll back on error, and keep constraints.
import sqlite3

db = sqlite3.connect(":memory:")
db.execute("create table account (name text primary key, balance integer check (balance >= 0))")
with db:
    db.executemany("insert into account values (?, ?)", [("ann", 100), ("bob", 0)])
try:
    with db:
        db.execute("update account set balance = balance + 150 where name = 'bob'")
        db.execute("update account set balance = balance - 150 where name = 'ann'")
except sqlite3.IntegrityError as error:
    print(error)
print(db.execute("select * from account order by name").fetchall(), db.in_transaction)
db.execute("insert into account values ('ann', 1)")
