# A broken TOML text is refused with its line.
import tomllib

print(tomllib.loads("a = 1"))
try:
    tomllib.loads("a = 1\na = 2")
except tomllib.TOMLDecodeError as error:
    print("twice", isinstance(error, ValueError))
tomllib.loads("port = 80 80")
