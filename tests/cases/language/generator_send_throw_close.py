# A generator receives values, handles a thrown exception, and cleans up when closed.
def account():
    balance = 0
    try:
        while True:
            try:
                amount = yield balance
                balance += amount or 0
            except ValueError as error:
                print("refused:", error)
    finally:
        print("closed at", balance)


book = account()
next(book)
print(book.send(100), book.send(-30))
print(book.throw(ValueError("no overdraft")))
book.close()
print(list(book))
