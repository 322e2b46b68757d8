"""
The network broker: the process that resolves, dials, speaks TLS and HTTP, and decides nothing.
"""
