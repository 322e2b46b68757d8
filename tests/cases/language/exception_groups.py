# except* splits a group by type, and what nobody takes is raised again.
def work():
    errors = []
    for action in (lambda: int("x"), lambda: [][1], lambda: 1 / 0, lambda: int("y")):
        try:
            action()
        except Exception as error:
            errors.append(error)
    raise ExceptionGroup("several", errors)


try:
    try:
        work()
    except* ValueError as group:
        print("values:", [str(e) for e in group.exceptions])
    except* LookupError as group:
        print("lookups:", len(group.exceptions), group.exceptions[0])
except ExceptionGroup as rest:
    print("rest:", rest.message, rest.exceptions)
