# Integer division floors, pow takes a modulus, and round goes to even.
print(divmod(17, 5), divmod(-17, 5), divmod(17, -5), -17 // 5, -17 % 5, 7.5 // 2, -7.5 % 2)
print(pow(3, 200, 13), pow(7, -1, 11), 2**-2, (-8) ** (1 / 3) != -2, 0**0)
print([round(x) for x in (0.5, 1.5, 2.5, -0.5)], round(2.675, 2), round(1234, -2), round(1e20, -19))
pow(2, -1, 4)
