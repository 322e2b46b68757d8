# A pool of threads is refused where threads are.
from concurrent.futures import ThreadPoolExecutor

try:
    with ThreadPoolExecutor(2) as pool:
        print(list(pool.map(abs, [-1, 2])))
except RuntimeError as error:
    print("refused:", error)
