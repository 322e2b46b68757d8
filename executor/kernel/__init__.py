"""
What both cages share: the gate, the boundaries behind it, and the frames between the processes.
"""
