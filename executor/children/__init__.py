"""
The server's other processes: how they are started, looked at, talked to and ended.
"""
