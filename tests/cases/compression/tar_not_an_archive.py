# What is no archive is a ReadError that lists what was tried.
import tarfile

with open("f.txt", "w") as f:
    f.write("hello")
try:
    tarfile.open("f.txt", "r:")
except tarfile.ReadError as error:
    print(error)
tarfile.open("f.txt")
