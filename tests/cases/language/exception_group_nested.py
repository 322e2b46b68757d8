# Groups nest, split and subgroup by predicate, and derive keeps the class.
tree = ExceptionGroup(
    "top",
    [TypeError("t"), ExceptionGroup("inner", [OSError("gone", 2), TypeError("u")]), KeyError("k")],
)
matched, rest = tree.split(TypeError)
print(matched)
print([type(e).__name__ for e in matched.exceptions], matched.exceptions[1].exceptions)
print(rest.exceptions[0].exceptions[0].args, rest.exceptions[1])
print(tree.subgroup(lambda e: isinstance(e, OSError)).exceptions)
print(tree.subgroup(ZeroDivisionError), isinstance(tree, Exception))
