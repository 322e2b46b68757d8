# What JSON does not know is named by its type.
import json

for value in ({1, 2}, object, 1j, b"x", json):
    try:
        json.dumps({"v": value})
    except TypeError as error:
        print(str(error).splitlines()[0])
loop = []
loop.append(loop)
json.dumps(loop)
