# inspect reads signatures, sources, members and documentation.
import inspect


def area(w: float, h: float = 2.0, *, unit: str = "m") -> str:
    """The area.

    With a unit.
    """
    return f"{w * h}{unit}"


class Tool:
    size = 3

    def use(self):
        "Use it."


sig = inspect.signature(area)
print(
    sig,
    list(sig.parameters),
    sig.parameters["h"].default,
    sig.return_annotation,
    sig.bind(1, unit="cm").arguments,
)
print(
    inspect.getsource(area).splitlines()[0],
    inspect.getdoc(area),
    inspect.isfunction(area),
    inspect.getfullargspec(area).kwonlyargs,
)
print(
    [n for n, _ in inspect.getmembers(Tool) if not n.startswith("_")],
    inspect.getmro(Tool)[-1],
    inspect.isgeneratorfunction(area),
    inspect.currentframe().f_lineno,
)
sig.bind()
