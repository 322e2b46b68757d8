# sys and gc tell about sizes, references, limits and the platform's ways.
import gc
import sys

print(
    sys.maxunicode,
    sys.byteorder,
    sys.implementation.name,
    sys.version_info >= (3, 11),
    sys.getsizeof([]) < sys.getsizeof([0] * 100),
    sys.intern("a") is sys.intern("a"),
)
sys.setrecursionlimit(500)
print(
    sys.getrecursionlimit(),
    gc.isenabled(),
    isinstance(gc.collect(), int),
    sys.flags.optimize,
    sys.getdefaultencoding(),
    sys.getfilesystemencoding(),
    sys.argv,
)
print(
    sys.float_repr_style,
    sys.stdout.encoding,
    "math" in sys.builtin_module_names or "math" in sys.modules,
    len(sys.hash_info) > 5,
)
