# shlex splits and quotes command lines, reprlib shortens.
import reprlib
import shlex

print(
    shlex.split('cp \'a b.txt\' "c d"/e --x="1 2" # no'),
    shlex.quote("it's"),
    shlex.join(["echo", "a b"]),
    list(shlex.shlex("a=b|c", punctuation_chars=True)),
)
print(
    reprlib.repr(list(range(100))), reprlib.repr("x" * 100), reprlib.repr({i: i for i in range(20)})
)


class Loop(list):
    @reprlib.recursive_repr()
    def __repr__(self):
        return "<" + ", ".join(map(repr, self)) + ">"


loop = Loop([1])
loop.append(loop)
print(loop)
shlex.split("it's open")
