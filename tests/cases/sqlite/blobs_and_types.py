# Blobs, adapters, converters and big integers.
import datetime
import sqlite3

sqlite3.register_adapter(datetime.date, lambda d: d.isoformat())
sqlite3.register_converter("day", lambda raw: datetime.date.fromisoformat(raw.decode()))
db = sqlite3.connect(":memory:", detect_types=sqlite3.PARSE_DECLTYPES)
db.execute("create table t(b blob, d day, i integer, f real, n)")
db.execute(
    "insert into t values (?,?,?,?,?)", (b"\x00\xff", datetime.date(2024, 2, 29), 2**62, 1, None)
)
print(
    db.execute("select * from t").fetchone(),
    db.execute("select typeof(b), typeof(f), typeof(n) from t").fetchone(),
    list(db.iterdump())[1],
)
db.execute("insert into t(i) values (?)", (2**64,))
