# exit() ends the program too.
print("before")
exit()
print("after")
