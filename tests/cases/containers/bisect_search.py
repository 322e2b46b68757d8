# bisect finds the place in sorted data, with a key too.
import bisect

grades = [60, 70, 80, 90]
print(["FDCBA"[bisect.bisect(grades, s)] for s in (33, 60, 69, 77, 90, 100)])
xs = [1, 3, 3, 5]
print(bisect.bisect_left(xs, 3), bisect.bisect_right(xs, 3))
bisect.insort(xs, 4)
people = [("ann", 20), ("bob", 30), ("cy", 40)]
print(xs, bisect.bisect_left(people, 25, key=lambda p: p[1]), xs[bisect.bisect_left(xs, 2) :])
