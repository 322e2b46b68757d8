# Text and numbers do not add.
age = 30
print("age: " + str(age))
print("age: " + age)
