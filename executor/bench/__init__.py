"""
What the service costs, beside floors and beside what people use instead, on this machine.

Rows (`rows/`) say what is measured; `running.py` measures contestants in turn; `results.py` is
what a run leaves; `table.py`, `plots.py` and `compare.py` are for people. The programs in `guest/`
are run by other interpreters: the peers' own.
"""
