# A zone that does not exist is told by name.
from zoneinfo import ZoneInfo

print(ZoneInfo("Asia/Kolkata"), ZoneInfo("Asia/Kolkata") is ZoneInfo("Asia/Kolkata"))
ZoneInfo("Mars/Olympus")
