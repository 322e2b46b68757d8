"""
The generated wire API.
"""
