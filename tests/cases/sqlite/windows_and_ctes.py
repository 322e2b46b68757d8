# Window functions, recursive queries, upserts, JSON and joins.
import sqlite3

db = sqlite3.connect(":memory:")
db.executescript("""
create table m(month text, region text, v int);
insert into m values ('01','n',5),('02','n',7),('03','n',4),('01','s',2),('02','s',9);
create table names(region text unique, name text);
insert into names values ('n','North');
""")
print(
    db.execute(
        "select month, v, sum(v) over (partition by region order by month), rank() over (order by v desc) from m order by region, month"
    ).fetchall()
)
print(
    db.execute(
        "with recursive f(a,b) as (values(0,1) union all select b,a+b from f where b<50) select group_concat(a) from f"
    ).fetchone()
)
db.execute(
    "insert into names values ('n','NORTH') on conflict(region) do update set name=excluded.name returning name"
)
print(
    db.execute(
        "select m.region, coalesce(name,'?'), max(v) from m left join names using(region) group by 1"
    ).fetchall()
)
print(
    db.execute(
        """select json_extract('{"a":[1,{"b":2}]}', '$.a[1].b'), json_group_array(v) from m where region='s'"""
    ).fetchone()
)
