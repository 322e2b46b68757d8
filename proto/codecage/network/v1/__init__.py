"""
The generated frames between the server and its network brokers: private.
"""
