"""
The process cage: native CPython in a box of namespaces, Landlock, seccomp and limits.
"""
