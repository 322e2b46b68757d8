# Modules and names that are not there.
for text in (
    "import no_such_module",
    "import json.nothing",
    "from json import nothing_there",
    "import os.nothing.more",
):
    try:
        exec(text)
    except ImportError as error:
        print(type(error).__name__, error.name)
import pandaz
