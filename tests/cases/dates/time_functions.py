# time formats, parses, and measures forward.
import time

t = time.gmtime(1_700_000_000)
print(
    time.strftime("%Y-%m-%d %H:%M:%S", t),
    t.tm_wday,
    t.tm_yday,
    time.asctime(t),
    time.mktime(time.strptime("2024-01-02", "%Y-%m-%d")) > 1.7e9,
)
start = time.perf_counter()
before = time.time()
time.sleep(0.005)
print(
    time.perf_counter() - start > 0.001,
    time.monotonic() > 0,
    abs(time.time() - before) < 60,
    time.time_ns() > 1.6e18,
    time.process_time() >= 0,
)
print(time.strptime("30 Nov 00", "%d %b %y")[:3], time.struct_time(range(9)).tm_mon)
