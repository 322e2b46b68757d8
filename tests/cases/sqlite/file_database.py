# A database in a file keeps its rows between connections.
import os
import sqlite3

db = sqlite3.connect("data.db")
with db:
    db.execute("create table t(a)")
    db.executemany("insert into t values (?)", [(1,), (2,)])
db.close()
print(
    sqlite3.connect("data.db").execute("select sum(a) from t").fetchone(),
    os.path.getsize("data.db") > 0,
)
