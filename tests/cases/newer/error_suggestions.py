# Errors suggest keywords and the shadowing of modules.
# Needs Python 3.13.
import traceback

for text in ("'a,b'.split(max_split=1)", "int(bas=2)"):
    try:
        eval(text)
    except TypeError as error:
        print(traceback.format_exception_only(error)[-1].strip())
# Writes:
# TypeError: split() got an unexpected keyword argument 'max_split'. Did you mean 'maxsplit'?
# TypeError: int() got an unexpected keyword argument 'bas'. Did you mean 'base'?
