# try, except, else and finally run in their order, also with return, break and continue.
def steps(value):
    trace = []
    try:
        trace.append("try")
        if value == 0:
            return trace
        10 / (value - 1)
    except ZeroDivisionError:
        trace.append("except")
    else:
        trace.append("else")
    finally:
        trace.append("finally")
    return trace


print(steps(0), steps(1), steps(2))
out = []
for n in range(5):
    try:
        if n == 1:
            continue
        if n == 3:
            break
        out.append(n)
    finally:
        out.append(f"f{n}")
else:
    out.append("never")
print(out)
