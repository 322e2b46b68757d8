# doctest runs the examples in a docstring and reports.
import doctest
import io


def add(a, b):
    """
    >>> add(1, 2)
    3
    >>> add("a", 1)
    Traceback (most recent call last):
    TypeError: can only concatenate str (not "int") to str
    >>> add(1, 1)
    3
    """
    return a + b


finder, runner, out = doctest.DocTestFinder(), doctest.DocTestRunner(verbose=False), io.StringIO()
for test in finder.find(add, "add", globs={"add": add}):
    print(runner.run(test, out=out.write))
print(
    [line for line in out.getvalue().splitlines() if line.startswith(("Expected", "Got", "    "))]
)
