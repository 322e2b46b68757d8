# A decorator with arguments retries, keeps the function's name, and can be stacked.
import functools


def retry(times, on=Exception):
    def wrap(function):
        @functools.wraps(function)
        def wrapped(*args, **kwargs):
            for attempt in range(1, times + 1):
                try:
                    return function(*args, **kwargs)
                except on as error:
                    print(f"attempt {attempt}: {error}")
            raise RuntimeError(f"{function.__name__} failed {times} times")

        return wrapped

    return wrap


attempts = iter([0, 0, 4])


@retry(3, on=ZeroDivisionError)
def quotient(a):
    """Divide by what comes next."""
    return a / next(attempts)


print(quotient(10), quotient.__name__, quotient.__doc__, quotient.__wrapped__.__qualname__)
