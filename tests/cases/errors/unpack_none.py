# What is not iterable cannot be unpacked.
def locate():
    return None


x, y = locate()
