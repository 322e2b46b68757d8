# Mocks record calls, answer, raise, and patch attributes.
import os
from unittest import mock

m = mock.Mock(return_value=5, name="m")
print(m(1, k=2), m.call_args, m.call_count, m.mock_calls)
m.side_effect = [1, ValueError("boom")]
print(m())
with mock.patch("os.getcwd", return_value="/fake"), mock.patch.dict("os.environ", {"A": "b"}):
    print(os.getcwd(), os.environ["A"])
magic = mock.MagicMock()
magic.__len__.return_value = 3
print(len(magic), magic.a.b.c() is magic.a.b.c(), mock.sentinel.x, mock.ANY == 5)
m.assert_called_once()
