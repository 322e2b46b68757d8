# eval, exec and compile with namespaces, and what a syntax error says.
names = {"x": 4}
exec("y = x ** 2\ndef f(n):\n    return n + y", names)
print(names["y"], names["f"](1), eval("x + y", names), eval("[a for a in range(x)]", names))
code = compile("a if a > b else b", "<rule>", "eval")
print(eval(code, {"a": 3, "b": 5}), code.co_names, code.co_filename)
try:
    compile("x = (1,\ny = 2", "<text>", "exec")
except SyntaxError as error:
    print(type(error).__name__, error.filename, error.lineno)
try:
    exec("def f():\nreturn 1")
except IndentationError as error:
    print(error.msg, error.lineno)
eval("1 +")
