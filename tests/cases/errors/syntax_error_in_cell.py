# A later line that does not compile keeps the earlier ones from running.
print("never printed")
exec("value = (1 +")
