# Complex numbers: arithmetic, polar form, roots.
import cmath

z = 3 + 4j
print(
    abs(z),
    z.conjugate(),
    z * 1j,
    z / (1 - 2j),
    z**2,
    -z,
    (z == 3 + 4j),
    complex("1-2j"),
    z.real,
    z.imag,
)
print(
    [round(c, 6) for c in cmath.polar(1j)],
    cmath.sqrt(-4),
    round(cmath.exp(1j * cmath.pi).real, 12),
    repr(complex(0, -0.0)),
    f"{z:.1f}",
)
a, b, c = 1, 2, 5
d = cmath.sqrt(b * b - 4 * a * c)
print((-b + d) / (2 * a), (-b - d) / (2 * a))
z < 1j
