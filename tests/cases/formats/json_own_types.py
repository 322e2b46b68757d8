# JSON encoders and decoders for one's own types.
import datetime
import json
from decimal import Decimal


class Encoder(json.JSONEncoder):
    def default(self, o):
        if isinstance(o, (datetime.date, Decimal)):
            return str(o)
        if isinstance(o, set):
            return sorted(o)
        return super().default(o)


print(
    json.dumps({"day": datetime.date(2024, 1, 2), "s": {3, 1}, "d": Decimal("1.10")}, cls=Encoder)
)
print(
    json.loads('{"x": 1.1, "y": {"z": 2}}', parse_float=Decimal, object_pairs_hook=list),
    json.dumps({"a": 1, ("t",): 2}, skipkeys=True),
)
json.dumps({"when": object})
