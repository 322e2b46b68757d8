# A misspelt name is a NameError that suggests the right one.
import traceback

total = 10
try:
    print(totl)
except NameError as error:
    print(traceback.format_exc().splitlines()[-1])
result = total + undefined_thing
