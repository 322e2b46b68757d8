# A coroutine can be driven without a loop, by an awaitable of one's own.
class Ask:
    def __init__(self, what):
        self.what = what

    def __await__(self):
        answer = yield self.what
        return answer


async def greet():
    name = await Ask("name?")
    age = await Ask("age?")
    return f"{name} is {age}"


c = greet()
answers = {"name?": "Ann", "age?": 30}
question = c.send(None)
try:
    while True:
        print("asked", question)
        question = c.send(answers[question])
except StopIteration as stop:
    print(stop.value)
