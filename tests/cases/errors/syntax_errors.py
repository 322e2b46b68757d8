# Broken source: the class and the line.
sources = [
    "x = = 1",
    "def f(:\n  pass",
    "if True\n  pass",
    "for i in range(3):\nprint(i)",
    "print 'hi'",
    "a = 'open",
    "(1, 2",
    "return 5",
    "1 = x",
    "x = 5\n  y = 6",
    "class: pass",
    "def f(a, a): pass",
    "f(b=1, 2)",
    "x = {1: 2, 3}",
    "break",
    "nonlocal q",
    "'''abc",
    "async = 1",
    "f(**k, *a)",
    "lambda x: return",
    "import a.b as",
    "a +",
    "0777",
    "x++",
]
for source in sources:
    try:
        compile(source, "<cell>", "exec")
        print(repr(source), "is fine")
    except SyntaxError as error:
        print(repr(source), type(error).__name__, error.lineno)
