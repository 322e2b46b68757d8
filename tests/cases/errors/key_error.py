# A missing key is a KeyError whose message is the key's repr.
row = {"name": "Ann", 1: "x"}
try:
    row[("a", 2)]
except KeyError as error:
    print(str(error), error.args)
row["Name"]
