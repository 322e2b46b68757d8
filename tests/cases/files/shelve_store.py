# A shelf of pickles in a file.
import shelve

with shelve.open("store") as db:
    db["list"] = [1, 2]
with shelve.open("store", writeback=True) as db:
    db["list"].append(3)
with shelve.open("store") as db:
    print(db["list"], "x" in db)
