# A failed assertion carries its message, or none.
def check(values):
    assert len(values) > 2, f"need 3 values, got {len(values)}"


try:
    assert 1 > 2
except AssertionError as error:
    print(repr(error), error.args)
check([1, 2])
