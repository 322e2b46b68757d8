"""
How a report looks, light and dark. It is the page's only style, named by its digest in the CSP.
"""

import base64
import hashlib
from typing import Final

STYLE: Final = """
:root { color-scheme: light dark; --ink: #1c2024; --quiet: #60646c; --paper: #ffffff;
  --line: #dfe2e6; --soft: #f5f6f8; --bad: #b3261e; --bad-soft: #fdeceb; --good: #14713a;
  --good-soft: #e8f5ec; --warn: #8a5a00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e6ea; --quiet: #9aa0a8; --paper: #15171a;
  --line: #33373d; --soft: #1d2024; --bad: #ff8f86; --bad-soft: #3a1b1a; --good: #6fd197;
  --good-soft: #15301f; --warn: #e5b454; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 1.5rem 1rem 4rem; background: var(--paper);
  color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.25rem 0 .5rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.5rem 0 .25rem; }
p { margin: .35rem 0; }
.quiet { color: var(--quiet); }
.verdict { border-left: .35rem solid; padding: .6rem .9rem; margin: 1rem 0; border-radius: .2rem; }
.whole { border-color: var(--good); background: var(--good-soft); }
.broken { border-color: var(--bad); background: var(--bad-soft); }
.verdict p { overflow-wrap: anywhere; }
code { font: 13px/1.45 ui-monospace, monospace; overflow-wrap: anywhere; white-space: pre-wrap;
  unicode-bidi: isolate; }
td code { display: block; max-height: 9em; overflow: auto; min-width: 12ch; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem; }
th { color: var(--quiet); font-weight: 600; white-space: nowrap; }
td { border-top: 1px solid var(--line); font-variant-numeric: tabular-nums; }
tr.denied td { background: var(--bad-soft); }
tr.denied strong { color: var(--bad); }
tr.failed strong { color: var(--warn); }
tr.quiet td { color: var(--quiet); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; margin: .5rem 0; }
dt { color: var(--quiet); } dd { margin: 0; overflow-wrap: anywhere; }
pre { background: var(--soft); border: 1px solid var(--line); border-radius: .4rem;
  padding: .75rem 1rem; overflow-x: auto; margin: .5rem 0;
  font: 13px/1.55 ui-monospace, monospace; }
pre i { font-style: normal; color: var(--warn); border-bottom: 1px dotted; }
ul.changes { list-style: none; padding: 0; margin: .5rem 0; }
ul.changes li { padding: .3rem .75rem; border-left: .2rem solid var(--line); margin: .2rem 0; }
ul.changes li.added { border-color: var(--good); }
ul.changes li.added strong { color: var(--good); }
ul.changes li.deleted { border-color: var(--bad); }
ul.changes li.deleted strong { color: var(--bad); }
ul.changes li.modified { border-color: var(--warn); }
ul.changes li.modified strong { color: var(--warn); }
pre.diff { max-height: 40rem; overflow: auto; tab-size: 4; }
pre.diff .added { color: var(--good); background: var(--good-soft); }
pre.diff .deleted { color: var(--bad); background: var(--bad-soft); }
pre.diff .place, pre.diff .quiet { color: var(--quiet); }
h4 { font-size: .9rem; margin: .8rem 0 .2rem; }
@media print { pre.diff { max-height: none; } td code { max-height: none; } }
"""

POLICY: Final = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; style-src 'sha256-"
    + base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    + "'"
)
"""The content security policy: the one style above, and nothing else from anywhere."""
