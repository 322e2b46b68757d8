# Class attributes are shared until an instance shadows them.
class Config:
    verbose = False
    paths = []

    def __init__(self, name):
        self.name = name


a, b = Config("a"), Config("b")
a.paths.append("/shared")
a.verbose = True
print(b.paths, b.verbose, vars(a), Config.verbose)
Config.verbose = None
print(a.verbose, b.verbose)
print([k for k in vars(Config) if not k.startswith("__")])
