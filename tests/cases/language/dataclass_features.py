# Dataclasses compare, order, freeze, replace and convert.
from dataclasses import asdict, astuple, dataclass, field, fields, replace


@dataclass(order=True)
class Task:
    priority: int
    name: str = field(compare=False)
    tags: list[str] = field(default_factory=list, compare=False, repr=False)
    length: int = field(init=False, default=0, compare=False)

    def __post_init__(self):
        self.length = len(self.name)


tasks = [Task(3, "ship"), Task(1, "design", ["x"]), Task(2, "build")]
print(sorted(tasks)[0], max(tasks).name)
print(asdict(tasks[1]), astuple(tasks[2]))
print(replace(tasks[0], priority=9), Task(1, "a") == Task(1, "b"))
print([f.name for f in fields(Task) if f.init])
