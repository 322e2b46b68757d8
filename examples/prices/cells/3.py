import socket


def attempt(what, act):
    try:
        print(f"{what}: {act()!r}")
    except OSError as error:
        print(f"{what}:\n    {type(error).__name__}: {error}")


attempt("another path", lambda: get("/v1/accounts"))
attempt(
    "another method",
    lambda: urllib.request.urlopen(urllib.request.Request(API + "/v1/prices/tin", method="DELETE")),
)
attempt("another host", lambda: urllib.request.urlopen("https://evil.example/?q=copper"))
attempt("another port", lambda: socket.create_connection(("localhost", 22)))
attempt("a datagram", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
