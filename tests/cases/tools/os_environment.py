# The environment is read, set and removed.
import os

os.environ["MY_SETTING"] = "on"
print(
    os.environ["MY_SETTING"],
    os.getenv("NOT_SET", "default"),
    "NOT_SET" in os.environ,
    os.path.expandvars("$MY_SETTING-${MY_SETTING}-$NOT_SET"),
    os.environ.pop("MY_SETTING"),
    os.getenv("MY_SETTING"),
)
print(
    os.sep,
    os.linesep == "\n",
    os.name,
    os.pathsep,
    os.curdir,
    os.devnull,
    os.fspath("x"),
    isinstance(os.getpid(), int),
    len(os.urandom(8)),
)
os.environ["KEY"] = 5
