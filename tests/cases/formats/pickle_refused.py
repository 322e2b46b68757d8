# What cannot be pickled says so.
import pickle

print(len(pickle.dumps(list(range(1000)))) > 1000)
try:
    pickle.dumps(x for x in [])
except TypeError as error:
    print(error)
try:
    pickle.dumps(lambda: 1)
except Exception as error:
    print("lambda refused", isinstance(error, (pickle.PicklingError, AttributeError)))
pickle.loads(b"")
