# A socket pair read and written as files, with a selector, and closed from one side.
import selectors
import socket

one, other = socket.socketpair()
with one, other, one.makefile("w", newline="\n") as out, other.makefile("r", newline="\n") as lines:
    for number in range(3):
        print("line", number, file=out)
    out.flush()
    print([line.strip() for line in (lines.readline(), lines.readline(), lines.readline())])

one, other = socket.socketpair()
with selectors.DefaultSelector() as chosen:
    chosen.register(other, selectors.EVENT_READ, "other")
    print(chosen.select(0))
    one.send(b"ready")
    print([(key.data, events) for key, events in chosen.select(1)])
print(other.recv(100))
one.close()
print(other.recv(100))
try:
    other.sendall(b"to nobody")
except OSError as error:
    print(type(error).__name__)
other.close()
