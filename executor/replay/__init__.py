"""
Captured sessions run again, with nothing outside, and compared with what they were.
"""
