"""
Contestants that cost nothing, for tests of the harness itself.
"""

from executor.bench.contest import ONLY, Better, Contestant, Effort, Role, Row, Setting

TINY = Effort("tiny", 2, 6, 5.0, 2, 1, 3, 0.001, peers=False)
SETTING = Setting(TINY, None, None)


def always(value, heard=None, name=""):
    """
    Its figure is `value`; each turn is told to `heard`.
    """

    def act(case):
        if heard is not None:
            heard.append((name, case))
        return value

    return lambda _stack: act


def row(*contestants, name="row", cases=(ONLY,), better=Better.LOWER):
    return Row(name, "what is measured", "ms", better, lambda _setting, _stack: contestants, cases)


def ours(value, **more):
    return Contestant("ours", Role.OURS, always(value), "floor", **more)


def floor(value):
    return Contestant("floor", Role.FLOOR, always(value))
