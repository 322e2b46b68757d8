"""
A kit of the benchmark's shape with four small tasks, written for the tests.
"""

import json
from pathlib import Path

TOOLS = """
PAGES = {"/": "one\\ntwo\\nthree\\nfour", "/a": "a\\nb\\n'key: 7'", "/b": "nothing"}
def words():
    def longest(*all):
        word = max(all, key=len)
        return word, len(word)
    return {"upper": lambda text: text.upper(), "longest": longest, "max": max}
def web():
    at = ["/", 0]
    def seen():
        return "\\n".join(PAGES[at[0]].split("\\n")[at[1]:at[1] + 2])
    def click_url(url):
        if url not in PAGES:
            return "[URL not found.]"
        at[:] = [url, 0]
        return seen()
    def scroll_down():
        if at[1] + 2 >= len(PAGES[at[0]].split("\\n")):
            return "[Reached the bottom of the page.]\\n"
        at[1] += 2
        return seen()
    return {"click_url": click_url, "scroll_down": scroll_down}
FAMILIES = {"words": words, "web": web}
def check(expected, answer):
    return str(expected) == answer
"""
SIGNATURES = {
    "words": ["upper(text: str) -> str", "longest(*words) -> tuple", "max(*args) -> int/float"],
    "web": ["click_url(url: str) -> str", "scroll_down() -> str"],
}
CRAWL = """\
text = {}
for url in ('/b', '/c', '/a'):
    text[url] = click_url(url)
    if 'not found' in text[url]:
        continue
    while 'Reached the bottom' not in (more := scroll_down()):
        text[url] += more
"""
ACTIONS = {
    "words/shout": ("AB", ["print(upper('ab'))"]),
    "words/longest": (
        "('cdef', 4)",
        ["found = [upper('ab').lower(), 'cdef']", "print(longest(*found))"],
    ),
    "words/largest": ("9 bb", ["a = max(3, 9)", "print(a, max('a', 'bb', key=lambda one: len(one)))"]),
    "web/key": ("7", [CRAWL, "print(next(t for t in text.values() if 'key' in t).split()[-1][:-1])"]),
}  # fmt: skip


def tasks():
    return [
        {"name": name, "family": name.split("/")[0], "instruction": name, "expected": expected}
        for name, (expected, _) in ACTIONS.items()
    ]


def told():
    tools = {
        family: [
            {"name": text.split("(")[0], "description": f"does {text}", "signature": text}
            for text in texts
        ]
        for family, texts in SIGNATURES.items()
    }
    return {"tools": tools, "tasks": tasks()}


def actions():
    return {
        name: {"one_block": "\n".join(blocks), "many_blocks": blocks}
        for name, (_, blocks) in ACTIONS.items()
    }


def write(directory: Path, **parts: object) -> Path:
    """
    Write the kit, with other documents or tools in place of its own.
    """
    documents = {"m3tooleval": told(), "actions": actions(), **parts}
    (directory / "tools.py").write_text(str(documents.pop("tools", TOOLS)))
    for name, document in documents.items():
        (directory / f"{name}.json").write_text(json.dumps(document))
    return directory
