import socket, subprocess


def endless():
    while True:
        pass


attempts = {
    "read /etc/passwd": lambda: open("/etc/passwd").read(),
    "write to the data": lambda: open("/data/sales.csv", "a"),
    "open a socket": lambda: socket.create_connection(("example.com", 443)),
    "start a program": lambda: subprocess.run(["ls", "/"]),
    "reach JavaScript": lambda: __import__("js"),
    "never end": endless,
}
for name, attempt in attempts.items():
    try:
        attempt()
        print(f"{name}: done")
    except BaseException as error:
        print(f"{name}:\n    {type(error).__name__}: {error}")
