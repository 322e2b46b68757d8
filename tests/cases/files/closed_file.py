# A closed file refuses, and a writer does not read.
import io

f = open("x", "w")
try:
    f.read()
except io.UnsupportedOperation as error:
    print(error)
f.close()
f.close()
f.write("late")
