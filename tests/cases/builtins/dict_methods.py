# Dictionaries keep insertion order, merge, and give live views.
d = dict(b=1, a=2)
view = d.keys()
d["c"] = 3
print(list(view), d | {"a": 9}, d.pop("b"), d.setdefault("z", []), d.get("no"), list(reversed(d)))
d |= [("k", 1)]
print(
    d.popitem(),
    d,
    dict.fromkeys("ab", 0),
    {"a": 1}.items() & {"a": 1, "b": 2}.items(),
    view - {"a"} == {"c", "z"},
)
copy = d.copy()
copy.update(a=0)
print(copy == d, dict(sorted(d.items(), key=str)), {1: "int", True: "bool", 1.0: "float"})
for key in d:
    d[key + "x"] = 1
