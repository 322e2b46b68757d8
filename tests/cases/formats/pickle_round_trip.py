# pickle keeps objects, references and state.
import pickle


class Account:
    def __init__(self, name):
        self.name, self.cache = name, object()

    def __getstate__(self):
        return {"name": self.name}

    def __setstate__(self, state):
        self.name, self.cache = state["name"], "rebuilt"


a = Account("ann")
shared = [1]
for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
    b, s, t = pickle.loads(pickle.dumps((a, shared, shared), protocol))
    print(protocol, b.name, b.cache, s is t)
print(
    pickle.loads(
        pickle.dumps({"x": {1, 2}, "f": len, "c": Account, "n": float("inf"), "b": bytearray(b"x")})
    )["x"],
    pickle.loads(b"I5\n."),
)
pickle.loads(b"garbage")
