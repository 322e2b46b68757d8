"""
The rows: what is measured, each beside its floor.
"""
