# Too few parameters and broken statements are programming errors.
import sqlite3

db = sqlite3.connect(":memory:")
db.execute("create table t(a, b)")
try:
    db.execute("selec 1")
except sqlite3.OperationalError as error:
    print(error)
try:
    db.close() or db.execute("select 1")
except sqlite3.ProgrammingError as error:
    print(error)
sqlite3.connect(":memory:").execute("select ?, ?", (1,))
