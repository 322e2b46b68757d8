"""
Gates: programs that judge a commit, each run in a cage of its own and nowhere else.
"""
