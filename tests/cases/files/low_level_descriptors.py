# Descriptors are opened, read, written, sought and closed.
import os

fd = os.open("raw", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
print(
    os.write(fd, b"hello world"),
    os.lseek(fd, 6, os.SEEK_SET),
    os.read(fd, 100),
    os.pread(fd, 5, 0),
    os.fstat(fd).st_size,
)
os.ftruncate(fd, 5)
with os.fdopen(fd, "r+b") as f:
    print(f.read(), f.fileno() == fd)
try:
    os.read(fd, 1)
except OSError as error:
    print(error.strerror)
os.open("raw", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
