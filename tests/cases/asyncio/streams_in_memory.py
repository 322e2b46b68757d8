# A stream reader is fed by hand and read by lines and counts.
import asyncio


async def main():
    reader = asyncio.StreamReader()
    reader.feed_data(b"line one\nline two\nrest of it")
    reader.feed_eof()
    print(
        await reader.readline(),
        await reader.readuntil(b"two\n"),
        await reader.readexactly(4),
        await reader.read(),
        reader.at_eof(),
    )
    short = asyncio.StreamReader()
    short.feed_data(b"ab")
    short.feed_eof()
    await short.readexactly(5)


asyncio.run(main())
