# A tree of code is read, changed, unparsed and safely evaluated.
import ast

tree = ast.parse("x = 1 + 2 * y\nprint(x)")


class Double(ast.NodeTransformer):
    def visit_Constant(self, node):
        return ast.copy_location(ast.Constant(node.value * 2), node)


print(
    ast.unparse(Double().visit(tree)),
    [type(n).__name__ for n in ast.walk(ast.parse("a.b[0]"))][:4],
    ast.dump(ast.parse("1", mode="eval")),
)
print(
    ast.literal_eval("{'a': [1, (2.5, None)], 'b': {3}, 'c': -1 + 2j}"),
    sorted({n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}),
)
ast.literal_eval("__import__('os')")
