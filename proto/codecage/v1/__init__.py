"""
The wire API of Codecage: messages here, stubs in `codecage.v1.codecage_pb2_grpc`.

This package imports no gRPC, so that a process that must never load it (a zygote) can read
messages.
"""
