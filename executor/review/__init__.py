"""
The review page: the record for people with a browser, read-only, on this machine alone.
"""
