"""
The images with more than the standard library, through gRPC: what a fresh session costs, and the
first use of the packages that were imported before it was forked.

A floor is what cannot be had for less, in the same session: a bare fork of the same guest for the
session, an empty cell for an import, the same lines a second time for a first analysis. An image
that is not built is left out, with a message.
"""

import statistics
import sys

from bench_sessions import idle_memory
from fresh import each
from measure import Row, timed_ms

import agent_client

ROUNDS = 40
# The package whose import is asked for.
IMAGES = {"data": "pandas", "web": "pydantic"}
GROUPBY = """
import pandas as pd
table = pd.DataFrame({"region": ["north", "south", "north", "west"] * 50, "units": range(200)})
table.groupby("region").units.sum()
"""
# The sum of 1 to 3, each twice, in quarters: read, grouped, pivoted.
ANALYSIS = """
import io
text = "day,region,units\\n" + "".join(
    f"2025-{month:02d}-05,{region},{month}\\n" for month in range(1, 13) for region in "NSW"
)
sales = pd.read_csv(io.StringIO(text), parse_dates=["day"])
by_quarter = sales.groupby(sales.day.dt.to_period("Q")).units.sum()
by_region = sales.pivot_table(index="region", columns=sales.day.dt.quarter, values="units")
by_quarter.pct_change().round(2).tolist()
"""


def rows():
    with agent_client.connect() as cage:
        built = {image.name for image in cage.info().images}
        for image, package in IMAGES.items():
            if image in built:
                yield from image_rows(cage, image, package)
            else:
                print(f"left out: `codecage image build {image}` builds it", file=sys.stderr)


def image_rows(cage, image, package):
    # The first session of an image boots it.
    with cage.session(image=image) as session:
        session.run("None")
    use = use_pandas if image == "data" else lambda _: {}
    found = [
        {"create": (created, fork), **import_walls(session, package), **use(session)}
        for session, created, fork in each(cage, image, ROUNDS)
    ]
    figures = {name: medians([one[name] for one in found]) for name in found[0]}
    yield Row(f"{image}: create a session to its first result",
              figures["create"][0], 5, "ms", figures["create"][1], "bare fork")  # fmt: skip
    yield Row(f"{image}: import {package} in a fresh session, the cell's own wall time",
              figures["import"][0], 1, "ms", figures["import"][1], "empty cell")  # fmt: skip
    idle = idle_memory(cage, image, "x = 1")
    yield Row(f"{image}: memory of one more idle session, PSS", idle, 8, "MB")
    if image == "data":
        yield from data_rows(cage, figures, idle)


def data_rows(cage, figures, idle):
    yield Row("data: the first groupby, request to result",
              figures["groupby"][0], 50, "ms", figures["groupby"][1], "the second")  # fmt: skip
    yield Row("data: read_csv, quarters and a pivot, for the first time",
              figures["analysis"][0], 100, "ms", figures["analysis"][1], "the second")  # fmt: skip
    memory = idle_memory(cage, "data", GROUPBY)
    yield Row("data: memory of one more session after a groupby, PSS",
              memory, 10, "MB", idle, "idle")  # fmt: skip


def import_walls(session, package):
    observed = session.run(f"import {package}")
    assert observed.ok, observed.text
    return {"import": (observed.duration * 1000, session.run("None").duration * 1000)}


def use_pandas(session):
    def group():
        assert "north" in session.run(GROUPBY).value

    def analyse():
        assert session.run(ANALYSIS).value == "[nan, 1.5, 0.6, 0.38]"

    return {
        "groupby": (timed_ms(group), timed_ms(group)),
        "analysis": (timed_ms(analyse), timed_ms(analyse)),
    }


def medians(pairs):
    return tuple(statistics.median(side) for side in zip(*pairs, strict=True))


if __name__ == "__main__":
    for row in rows():
        print(row.data())
