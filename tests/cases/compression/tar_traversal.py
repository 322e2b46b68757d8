# An archive whose names lead outside is refused by the data filter.
import io
import tarfile

buffer = io.BytesIO()
with tarfile.open(fileobj=buffer, mode="w") as t:
    info = tarfile.TarInfo("../evil.txt")
    t.addfile(info)
buffer.seek(0)
with tarfile.open(fileobj=buffer) as t:
    print(t.getnames())
    try:
        t.extractall("out", filter="data")
    except tarfile.OutsideDestinationError as error:
        print(type(error).__name__, error.tarinfo.name)
