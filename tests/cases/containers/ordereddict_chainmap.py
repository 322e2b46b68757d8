# OrderedDict moves keys, ChainMap layers settings.
from collections import ChainMap, OrderedDict

o = OrderedDict(a=1, b=2, c=3)
o.move_to_end("a")
o.move_to_end("c", last=False)
print(list(o), o.popitem(last=False), o == OrderedDict(a=1, b=2), o == dict(a=1, b=2))
defaults, user = {"color": "red", "size": 1}, {"size": 5}
config = ChainMap({}, user, defaults)
config["color"] = "blue"
print(
    config["color"], config["size"], config.maps[0], defaults, sorted(config), dict(config.parents)
)
