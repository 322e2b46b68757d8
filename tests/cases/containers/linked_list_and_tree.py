# A linked list, a binary tree and a trie by hand.
class Node:
    def __init__(self, value, left=None, right=None):
        self.value, self.left, self.right = value, left, right

    def insert(self, value):
        side = "left" if value < self.value else "right"
        if child := getattr(self, side):
            child.insert(value)
        else:
            setattr(self, side, Node(value))

    def __iter__(self):
        if self.left:
            yield from self.left
        yield self.value
        if self.right:
            yield from self.right


root = Node(8)
for v in (3, 10, 1, 6, 14, 4):
    root.insert(v)
depth = lambda n: 0 if n is None else 1 + max(depth(n.left), depth(n.right))
print(list(root), depth(root))
trie = {}
for word in ("car", "card", "care", "dog"):
    here = trie
    for c in word:
        here = here.setdefault(c, {})
    here["$"] = True
print(trie["c"]["a"]["r"].keys() == {"$", "d", "e"}, trie["d"])
