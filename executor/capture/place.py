"""
Where the captures of an audit record are: two directories beside it.
"""

from pathlib import Path


def places(audit: Path) -> tuple[Path, Path]:
    """
    The directory of the captures, and that of their keys.
    """
    beside = audit.absolute()
    return (
        beside.with_name(f"{beside.name}.captures"),
        beside.with_name(f"{beside.name}.capture-keys"),
    )
