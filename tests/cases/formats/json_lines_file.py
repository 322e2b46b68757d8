# JSON lines are appended to a file and read back as records.
import json
from pathlib import Path

path = Path("log.jsonl")
with path.open("w", encoding="utf-8") as out:
    for n in range(3):
        out.write(json.dumps({"id": n, "sq": n * n, "who": "é"}, ensure_ascii=False) + "\n")
with path.open(encoding="utf-8") as lines:
    rows = [json.loads(line) for line in lines]
print(rows, path.stat().st_size)
json.dump({"rows": rows}, Path("all.json").open("w"), indent=1)
print(json.load(open("all.json"))["rows"][2]["sq"])
