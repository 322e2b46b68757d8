"""
What an administrator may say, and what it means.

`parse.py` makes a Policy of a file, `decide.py` answers requests by it, `explain.py` shows why.
Nothing is imported here: a worker needs `requests.py` and must not load a YAML reader for it.
"""
