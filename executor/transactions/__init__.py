"""
Mounts that change only by a commit: what a session writes is its own until then.
"""
