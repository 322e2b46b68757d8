# A deque that changes while it is read is a RuntimeError too.
from collections import deque

tasks = deque([1, 2])
for task in tasks:
    tasks.append(task)
