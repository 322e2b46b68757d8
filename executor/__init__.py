"""
The server's half of Codecage: cages, gate, sessions, images, audit and the command line.
"""
