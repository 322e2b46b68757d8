# Code objects carry names, constants, lines and flags.
def f(a, *args, b=1, **kw):
    c = a + b
    return lambda: c + 10


code = f.__code__
print(
    code.co_name,
    code.co_argcount,
    code.co_kwonlyargcount,
    code.co_varnames,
    code.co_cellvars,
    code.co_firstlineno,
    code.co_flags & 12,
    f(1)(),
)
g = f.__get__(5)
print(
    g()(),
    f.__defaults__,
    f.__kwdefaults__,
    code.replace(co_name="renamed").co_name,
    type(compile("1", "<s>", "eval")).__name__,
)
