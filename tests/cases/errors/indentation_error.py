# Indentation that does not fit is named.
code = "def f():\n    a = 1\n      b = 2\n    return a\n"
exec(code)
