# The functions of math that people use, with their exact cases.
import math

print(
    math.floor(-1.5),
    math.ceil(-1.5),
    math.trunc(-1.9),
    math.fsum([0.1] * 10),
    math.gcd(48, 36, 60),
    math.lcm(4, 6, 10),
)
print(
    math.comb(10, 3),
    math.perm(5, 2),
    math.prod([1.5, 2, 3]),
    math.dist((0, 0), (3, 4)),
    math.hypot(1, 2, 2),
    math.copysign(1, -0.0),
)
print(
    math.isclose(0.1 + 0.2, 0.3),
    math.isnan(math.nan),
    math.inf > 10**400,
    math.modf(-2.25),
    math.frexp(12.0),
    math.ldexp(0.75, 4),
)
print(
    math.degrees(math.pi),
    math.radians(180),
    math.log2(8),
    math.log10(1000),
    math.log(8, 2),
    round(math.cbrt(27), 9),
    math.exp2(10),
    math.remainder(7, 4),
)
print(math.nextafter(1.0, 2.0), math.ulp(1.0), math.tau == 2 * math.pi, math.e)
math.sqrt(-1)
