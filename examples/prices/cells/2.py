# Which key was that? The service repeats all it was sent.
print(get("/v1/whoami"))
