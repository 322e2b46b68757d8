# assert raises with its message, del removes names and items.
data = {"a": 1, "b": [1, 2, 3]}
del data["a"], data["b"][0]
print(data)
value = 5
del value
try:
    value
except NameError as error:
    print(error)
assert data["b"], "never"
assert not data["b"], f"left over: {data['b']}"
