"""
The generated frames between the server and its workers: private.
"""
