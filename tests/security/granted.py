"""
A real server with one read-only and one writable grant, and things outside that must stay so.
"""

import contextlib
import hashlib
import os
import pwd
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import agent_client
from agent_client.embedded import account
from executor.audit.read import records

POLICY = """\
version: 1
name: attacker
filesystem:
  - {mount: /data, source: ./data, access: read, deny: ["**/*.key", "private/**"]}
  - {mount: /work/out, source: ./out, access: read-write, quota: 4Mi, max_files: 200}
limits: {memory: 256Mi, cpu_time: 20s, wall_time: 30s}
"""
OPEN_POLICY = POLICY.replace("attacker", "friend").replace(', deny: ["**/*.key", "private/**"]', "")
CANARY = "canary-7f3a"


@dataclass
class Field:
    """
    The server and its folders; `attack` runs a cell and says what came of it.
    """

    folder: Path
    cage: agent_client.Cage
    audit: Path

    def session(self, policy="attacker"):
        return self.cage.session(policy=policy)

    def attack(self, code, policy="attacker"):
        """
        The value of the cell's last expression, and the decisions that the session recorded.
        """
        with self.session(policy) as session:
            observation = session.run(code)
            assert observation.ok, observation.text
            return observation.value, self.decisions(session.id)

    def decisions(self, session):
        return [
            (str(record.request), record.answer.value, record.rule_place)
            for record in records(self.audit, session=session)
            if record.event.value == "decision"
        ]

    def digest(self):
        """
        Everything outside the grants, by content.
        """
        sums = hashlib.sha256()
        for path in sorted((self.folder / "outside").rglob("*")):
            sums.update(str(path).encode())
            if path.is_file():
                sums.update(path.read_bytes())
        return sums.hexdigest()


@contextlib.contextmanager
def field():
    folder = Path(tempfile.mkdtemp(prefix="codecage-field-"))
    folder.chmod(0o755)
    try:
        fill(folder)
        audit = folder / "audit" / "audit.sqlite3"
        with agent_client.connect(policies=folder / "policies", audit=audit) as cage:
            yield Field(folder, cage, audit)
    finally:
        shutil.rmtree(folder)


def fill(folder):
    for name in ("policies", "data", "data/private", "data-secret", "out", "outside", "audit"):
        (folder / name).mkdir()
    (folder / "audit").chmod(0o700)
    for name, text in (("attacker", POLICY), ("friend", OPEN_POLICY)):
        placed = text.replace("./", f"{folder}/")
        (folder / "policies" / f"{name}.yaml").write_text(placed)
    (folder / "data" / "readme.txt").write_text("hello")
    for path in ("data/private/x.txt", "data/a.key", "data-secret/x.txt", "outside/x.txt"):
        (folder / path).write_text(CANARY)
    for name, target in (
        ("to_outside", folder / "outside" / "x.txt"),
        ("to_parent", "../outside/x.txt"),
        ("to_key", "a.key"),
        ("to_private", "private/x.txt"),
        ("loop", "loop"),
        ("good", "readme.txt"),
        ("dangling", "../outside/new.txt"),
    ):
        for place in ("data", "out"):
            (folder / place / name).symlink_to(target)
    os.mkfifo(folder / "data" / "fifo")
    (folder / "out" / "mine.txt").write_text("mine")
    if os.getuid() == 0:
        user = pwd.getpwnam(account())
        for path in [folder / "audit", folder / "out", *(folder / "out").iterdir()]:
            os.chown(path, user.pw_uid, user.pw_gid, follow_symlinks=False)
