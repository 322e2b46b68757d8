# Context variables are set, reset, and isolated by copies.
import asyncio
import contextvars

user = contextvars.ContextVar("user", default="nobody")
token = user.set("ann")
print(user.get(), token.old_value is contextvars.Token.MISSING)
copy = contextvars.copy_context()
copy.run(user.set, "bob")
print(user.get(), copy[user])
user.reset(token)


async def task(name):
    user.set(name)
    await asyncio.sleep(0)
    return user.get()


async def main():
    return await asyncio.gather(task("x"), task("y")), user.get()


print(asyncio.run(main()))
user.reset(token)
