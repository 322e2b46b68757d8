# Naive and aware times are not compared.
from datetime import datetime, timezone

aware, naive = datetime(2024, 1, 1, tzinfo=timezone.utc), datetime(2024, 1, 1)
print(
    aware == naive,
    aware.isoformat(),
    naive.isoformat(),
    naive.replace(tzinfo=timezone.utc) == aware,
)
aware < naive
