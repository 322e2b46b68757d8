# A deque rotates, drops its oldest, and is a queue at both ends.
from collections import deque

d = deque(range(5), maxlen=4)
d.append(9)
d.appendleft(-1)
print(d, d.maxlen, d[1])
d.rotate(1)
d.extendleft([7, 8])
print(list(d), d.pop(), d.popleft(), d.count(7), d.index(7))
window = deque(maxlen=3)
print([sum(window) / len(window) for x in [1, 2, 6, 9] if window.append(x) is None])
deque().popleft()
