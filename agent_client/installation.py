"""
Whether the server is installed beside the client: the client needs gRPC alone, the server more.
"""

from importlib.util import find_spec

INSTALL_SERVER = "pip install 'codecage[server]'"

_SERVER_PARTS = ("grpc_health", "pydantic", "ruamel", "wasmtime")


def missing_parts() -> list[str]:
    """
    The modules of the server that are not installed here.
    """
    return [name for name in _SERVER_PARTS if find_spec(name) is None]
