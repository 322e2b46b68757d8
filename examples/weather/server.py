"""A weather service as an MCP server: `python server.py`, spoken to on standard input and output."""

import datetime
import logging
import math

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

server = MCPServer("weather", log_level="CRITICAL")
logging.disable(logging.CRITICAL)  # its standard error is the example's terminal
STATIONS = {
    "harbour": (11.0, 2.0),
    "mill": (9.5, 5.5),
    "summit": (1.0, 8.25),
    "valley": (12.0, 6.5),
}
alarms = {"summit", "mill"}


@server.tool()
def stations() -> list[str]:
    """The names of all stations."""
    return sorted(STATIONS)


@server.tool()
def temperatures(station: str, first: str, days: int = 7) -> list[float]:
    """Mean temperatures of some days in degrees Celsius, from the day `first` (YYYY-MM-DD) on."""
    if station not in STATIONS:
        raise ToolError(f"there is no station {station!r}")
    mean, swing = STATIONS[station]
    day = datetime.date.fromisoformat(first).toordinal()
    return [round(mean + swing * math.sin(1.7 * (day + number)), 1) for number in range(days)]


@server.tool(name="cancel-alarm")
def cancel_alarm(station: str) -> bool:
    """Cancel a station's alarm; false where it has none."""
    found = station in alarms
    alarms.discard(station)
    return found


@server.tool()
def shut_down(station: str) -> str:
    """Shut a station down for good."""
    return f"{station} is shut down"


if __name__ == "__main__":
    server.run("stdio")
