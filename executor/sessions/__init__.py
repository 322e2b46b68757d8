"""
Sessions and their cells: made, found, run, and ended.
"""
