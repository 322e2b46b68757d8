# types: namespaces, proxies, dynamic modules and coroutines' kinds.
import types

ns = types.SimpleNamespace(a=1, b=[2])
ns.c = ns.a + 1
proxy = types.MappingProxyType({"k": 1})
module = types.ModuleType("made", "doc")
exec("def f(): return __name__", module.__dict__)
print(
    ns,
    ns == types.SimpleNamespace(a=1, b=[2], c=2),
    proxy["k"],
    module.f(),
    module.__doc__,
    types.new_class("C", (dict,), {}, lambda d: d.update(x=1)).x,
)
print(
    isinstance(print, types.BuiltinFunctionType),
    isinstance(lambda: 0, types.FunctionType),
    types.MethodType(lambda self: self.a, ns)(),
    list[int],
    types.GenericAlias(list, (int,)),
)
proxy["k"] = 2
