# Annotations are evaluated when they are asked for.
# Needs Python 3.14.
import annotationlib


class Node:
    next: Node | None
    value: Missing


print(annotationlib.get_annotations(Node, format=annotationlib.Format.STRING))
Missing = int
print(Node.__annotations__["value"])
# Writes:
# {'next': 'Node | None', 'value': 'Missing'}
# <class 'int'>
