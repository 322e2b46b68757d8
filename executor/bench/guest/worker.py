"""
The plainest live worker: a Python that runs what comes as a line of JSON, and answers with one.

No boundary of any kind. `{"code": ...}` is answered by what it printed; with `"calls": true` the
code may call `tool(number)`, which is a line to the other side and one back.
"""

import contextlib
import io
import json
import sys

names = {}
answers = sys.stdout


def tool(number):
    print(json.dumps({"call": number}), file=answers, flush=True)
    return json.loads(sys.stdin.readline())["answer"]


names["tool"] = tool
print(json.dumps({"ready": sys.version.split()[0]}), flush=True)
while line := sys.stdin.readline():
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(json.loads(line)["code"], names)
    print(json.dumps({"printed": printed.getvalue()}), file=answers, flush=True)
