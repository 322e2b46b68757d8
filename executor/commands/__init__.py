"""
The commands that need the server: `serve`, `policy` and `doctor`.
"""
