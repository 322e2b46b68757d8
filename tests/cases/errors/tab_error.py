# Tabs and spaces that do not agree are a TabError.
exec("if True:\n\tx = 1\n        y = 2\n")
