# Unions are one type, and Path copies and moves.
# Needs Python 3.14.
from pathlib import Path
from typing import Union

print(Union[int, str] == int | str, isinstance(int | str, Union))
Path("a").write_text("x")
Path("a").copy(Path("b"))
Path("d").mkdir()
Path("b").move_into(Path("d"))
print(sorted(str(p) for p in Path(".").rglob("*")))
# Writes:
# True True
# ['a', 'd', 'd/b']
