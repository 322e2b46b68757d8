# Directories are not read as files, nor files listed as directories.
import os

os.mkdir("d")
open("f", "w").close()
for act in (
    lambda: open("d"),
    lambda: os.listdir("f"),
    lambda: os.mkdir("d"),
    lambda: os.rmdir("missing"),
    lambda: os.unlink("missing"),
    lambda: open("f/x"),
):
    try:
        act()
    except OSError as error:
        print(type(error).__name__, error.strerror, error.filename)
os.mkdir("a/b")
