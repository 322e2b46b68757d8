# pprint lays out nested data by width and depth.
import pprint

data = {
    "name": "config",
    "values": list(range(25)),
    "nested": {"deep": {"deeper": {"deepest": 1}}, "text": "word " * 20},
}
pprint.pprint(data, width=60)
pprint.pprint(data, depth=2, compact=True, sort_dicts=False)
print(pprint.pformat({"b": 1, "a": (1,)}), pprint.saferepr([1]), pprint.isreadable([object()]))
