# copy and deepcopy: shared parts, cycles and custom copying.
import copy

a = {"list": [1, [2]], "self": None}
a["self"] = a
shallow, deep = copy.copy(a), copy.deepcopy(a)
a["list"][1].append(3)
print(shallow["list"], deep["list"], deep["self"] is deep, shallow["self"] is a)


class Handle:
    def __init__(self, n):
        self.n = n

    def __copy__(self):
        return Handle(self.n + 100)

    def __deepcopy__(self, memo):
        return Handle(self.n + 200)


h = Handle(1)
print(copy.copy(h).n, copy.deepcopy([h, h])[1].n, copy.copy((1, 2)), copy.deepcopy(len) is len)
