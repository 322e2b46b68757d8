# The working directory changes what relative names mean.
import os
from contextlib import chdir
from pathlib import Path

home = os.getcwd()
os.makedirs("in/deep")
Path("in/f").write_text("here")
with chdir("in"):
    print(open("f").read(), os.path.relpath(os.getcwd(), home), sorted(os.listdir(".")))
os.chdir("in/deep")
print(Path("../f").read_text(), Path.cwd().name, os.path.samefile("..", os.path.join(home, "in")))
os.chdir("missing")
