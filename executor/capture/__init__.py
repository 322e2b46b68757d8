"""
What a session was given from outside, kept so that it can be run again.
"""
