# Floats as ratios and hexadecimal, with exact limits.
import sys

print(
    (0.75).as_integer_ratio(),
    (0.1).hex(),
    float.fromhex("0x1.8p+1"),
    (3.0).is_integer(),
    float("  -1_0.5e1 "),
)
info = sys.float_info
print(info.max, info.epsilon, info.min, info.dig, info.mant_dig, 1.0 + info.epsilon / 2 == 1.0)
print(0.1 + 0.1 + 0.1 == 0.3, abs(0.1 * 3 - 0.3) < 1e-9, 1e308 * 10, -1e308 * 10, 5 % 3.5, 2**0.5)
float("1,5")
