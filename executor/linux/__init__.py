"""
The kernel's mechanisms, one a file, for both cages. Standard library only; x86-64, glibc.
"""
