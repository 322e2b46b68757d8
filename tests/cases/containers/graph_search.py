# Breadth-first, depth-first and Dijkstra on a dictionary graph.
import heapq
from collections import deque

graph = {
    "A": {"B": 7, "C": 3},
    "B": {"D": 2},
    "C": {"B": 1, "D": 8},
    "D": {"E": 4},
    "E": {},
    "F": {"A": 1},
}


def bfs(start):
    seen, queue = [start], deque([start])
    while queue:
        for nxt in graph[queue.popleft()]:
            if nxt not in seen:
                seen.append(nxt)
                queue.append(nxt)
    return seen


def dijkstra(start):
    best, heap = {}, [(0, start, "")]
    while heap:
        cost, node, before = heapq.heappop(heap)
        if node not in best:
            best[node] = (cost, before)
            for nxt, weight in graph[node].items():
                heapq.heappush(heap, (cost + weight, nxt, node))
    return best


print(bfs("A"), dijkstra("A"))
from graphlib import CycleError, TopologicalSorter

print([*TopologicalSorter({"cook": {"shop"}, "eat": {"cook"}}).static_order()])
try:
    TopologicalSorter({"a": {"b"}, "b": {"a"}}).prepare()
except CycleError as error:
    print(error.args[0], sorted(set(error.args[1])))
