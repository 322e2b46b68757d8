"""
The audit record: append-only, hash-chained, written before an effect is visible.
"""
