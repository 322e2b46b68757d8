# A cell may await at its top level, and its last expression may be an await.
import asyncio


async def fetch(n):
    await asyncio.sleep(0)
    return {"id": n, "ok": n % 2 == 0}


rows = await asyncio.gather(*(fetch(n) for n in range(3)))
print(rows)
checked = [row["id"] for row in rows if (await fetch(row["id"]))["ok"]]
await fetch(len(checked))
