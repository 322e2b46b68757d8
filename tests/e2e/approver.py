"""
`codecage approvals` as another account, for a test that is root: the number of the account, then
the command's own words.

What is needed is imported before: the account may not look where it lies.
"""

import os
import sys

import grpc

import agent_client.commands.approvals  # noqa: F401 - see above
from agent_client import failures, link, terminal  # noqa: F401
from executor.cli import main

if __name__ == "__main__":
    uid = int(sys.argv[1])
    grpc.insecure_channel("unix:/nowhere").close()  # whatever gRPC loads when it is first used
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    sys.exit(main(["approvals", *sys.argv[2:]]))
