# array holds numbers of one type.
from array import array

a = array("d", [1.5, 2.5])
a.append(3)
print(
    a,
    a.itemsize,
    a.tobytes()[:8],
    sum(a),
    array("i", range(3)).tolist(),
    array("B", b"ab") + array("B", [99]),
    a[::-1],
)
b = array("H", [1, 256])
b.byteswap()
print(b, array("i", [1, 2]) == array("d", [1, 2]), len(array("u", "héllo")))
array("b", [200])
