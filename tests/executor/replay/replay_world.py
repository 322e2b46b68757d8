"""
Frames of a session as a capture has them, with the numbers of their events, and a worker.
"""

from codecage.worker.v1 import worker_pb2 as wire
from executor.capture.events import Event, Kind

BOOTED = bytes(32)
BEGIN = wire.ToWorker(begin=wire.Begin(policy_name="p"))
RUN = wire.ToWorker(run=wire.RunCell(cell=1, code="1"))
ASK = wire.FromWorker(ask=wire.Ask(stat=wire.PathAsk(path="/data")))
CALL = wire.FromWorker(ask=wire.Ask(call=wire.CallAsk(name="price")))
ANSWER = wire.ToWorker(answer=wire.Answer(errno=2))
DONE = wire.FromWorker(done=wire.CellDone(status=wire.CellDone.OK))


def output(data, stream=1):
    return wire.FromWorker(output=wire.Output(stream=stream, data=data))


def inputs(segment, data):
    return wire.FromWorker(inputs=wire.Inputs(segment=segment, data=data))


def numbered(*frames):
    kinds = {wire.ToWorker: Kind.TO_WORKER, wire.FromWorker: Kind.FROM_WORKER}
    return [
        (number, Event(kinds[type(one)], one.SerializeToString()))
        for number, one in enumerate(frames, 2)
    ]


class Worker:
    """
    The other end of a channel, as a player has it.
    """

    boot_digest = BOOTED

    def __init__(self, channel):
        self.channel = channel

    def limit_memory(self, size):
        pass
