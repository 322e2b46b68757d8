# A function without a base case ends as a RecursionError, and the session lives.
def depth(n):
    return depth(n + 1) + 1


try:
    depth(0)
except RecursionError as error:
    print(str(error)[:32])


class Node:
    def __repr__(self):
        return f"<{self!r}>"


try:
    repr(Node())
except RecursionError:
    print("again")
print(sum(range(10)))
