# JSON writes and reads nested data, with indents, sorting and separators.
import json

data = {
    "name": "Ünï",
    "n": [1, 2.5, -0.0, 1e100, True, None],
    "nested": {"b": [], "a": {}},
    3: "int key",
}
text = json.dumps(data)
print(text, json.loads(text) == {**data, "3": "int key"} or sorted(json.loads(text)))
print(json.dumps(data, ensure_ascii=False, sort_keys=False, indent=2))
print(
    json.dumps([1, {"a": 1}], separators=(",", ":")),
    json.loads(' [1e3, "\\u00e9\\n", 12345678901234567890] '),
    json.dumps(float("inf")),
)
