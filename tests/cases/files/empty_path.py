# An empty name is the name of nothing.
import os
import os.path

print(os.path.exists(""), os.path.isdir(""))
open("")
