"""
The commands that need the client alone: `codecage run` and `codecage shell`.
"""
