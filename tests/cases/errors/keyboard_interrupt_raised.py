# KeyboardInterrupt is no Exception.
try:
    try:
        raise KeyboardInterrupt("stop")
    except Exception:
        print("not here")
except BaseException as error:
    print(type(error).__mro__[1].__name__, error)
