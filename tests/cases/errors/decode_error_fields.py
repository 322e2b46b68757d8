# A UnicodeError tells the codec, the place and the reason.
try:
    b"ok \xff\xfe".decode()
except UnicodeDecodeError as error:
    print(error.encoding, error.start, error.end, error.reason, error.object)
"caf\u00e9 \U0001f40d".encode("ascii")
