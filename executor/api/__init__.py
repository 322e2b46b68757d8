"""
The gRPC door: what clients ask, checked and decoded, and what they are told.
"""
