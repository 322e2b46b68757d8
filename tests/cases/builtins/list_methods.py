# Lists insert, remove, extend, count, sort in place and copy.
xs = [3, 1, 2]
xs.insert(1, 9)
xs.extend(x * 10 for x in xs[:2])
xs.append([0])
print(xs, xs.index(9), xs.count(3), xs.pop(), xs.pop(0))
xs.remove(9)
xs.sort(key=lambda x: -x)
print(xs, xs.reverse(), xs, xs * 2, [0] * 3, xs.copy() is xs, [1, 2] < [1, 3], [1] + [2])
ys = [[]] * 3
ys[0].append(1)
print(ys)
xs.remove(77)
