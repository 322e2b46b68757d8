"""
`decide` against what the language means, rule by rule, and against a slow second evaluator that
shares no code with it.
"""

from collections import Counter
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy.decide import MAX_PATH, compile_policy, decide
from policy.guards import GUARDS
from policy.requests import FileAction, FileRequest, NetworkRequest, ProcessRequest
from policy.types import Access, FileGrant, Policy, Rule

LOOKING = {FileAction.STAT, FileAction.LIST, FileAction.READ}
SALES = """filesystem:
  - {mount: /data, source: /srv/sales, access: read, deny: ["**/*.key", ".git/**"]}
  - {mount: /work/out, source: /srv/reports, access: read-write}
  - {mount: /work, source: scratch, access: read-write}
"""


@pytest.fixture
def ask(policy):
    decider = compile_policy(policy(SALES))

    def answer(action: str, path: str):
        return decider.decide(FileRequest(FileAction(action), path))

    return answer


# What is granted, and beside it what is not


@pytest.mark.parametrize(
    ("allowed", "denied", "absent"),
    [
        (("read", "/data/x.csv"), ("write", "/data/x.csv"), False),
        (("read", "/data/x.csv"), ("read", "/data/x.key"), True),
        (("read", "/data/x.csv"), ("read", "/data-secret/x.csv"), True),
        (("read", "/data/x.csv"), ("read", "/Data/x.csv"), True),
        (("read", "/data/x.csv"), ("read", "/data/../data/x.csv"), True),
        (("read", "/data/x.csv"), ("read", "//data/x.csv"), True),
        (("read", "/data/x.csv"), ("read", "/data/x.csv/"), True),
        (("read", "/data/x.csv"), ("read", "/data/./x.csv"), True),
        (("read", "/data/x.csv"), ("read", "/data/x.csv\0.key"), True),
        (("read", "/data/x.csv"), ("read", "data/x.csv"), True),
        (("read", "/data/x.csv"), ("read", ""), True),
        (("read", "/data/x.csv"), ("read", "/"), True),
        (("read", "/data/x.csv"), ("read", "/etc/passwd"), True),
        (
            ("read", "/data/" + "x" * (MAX_PATH - 6)),
            ("read", "/data/" + "x" * (MAX_PATH - 5)),
            True,
        ),
        (("list", "/data"), ("list", "/data/.git"), True),
        (("list", "/data"), ("rmdir", "/data"), False),
        (("stat", "/data/a/git"), ("stat", "/data/.git/config"), True),
        (("write", "/work/out/a.csv"), ("write", "/work/out/a/.git/config"), False),
        (("create", "/work/out/a.csv"), ("create", "/work/out"), False),
        (("rename", "/work/out/a"), ("rename", "/work/out"), False),
        (("rmdir", "/work/other"), ("rmdir", "/work"), False),
        (("utime", "/work/out"), ("utime", "/data"), False),
        (("mkdir", "/work/out"), ("mkdir", "/data"), False),
        (("write", "/work/Makefile"), ("write", "/work/out/Makefile"), False),
        (("read", "/work/out/Makefile"), ("truncate", "/work/out/x/makefile"), False),
    ],
)
def test_one_request_is_granted_and_its_twin_is_not(ask, allowed, denied, absent):
    assert ask(*allowed).allowed
    decision = ask(*denied)
    assert (decision.allowed, decision.absent) == (False, absent)
    assert decision.remedy


@pytest.mark.parametrize("guard", [guard.name for guard in GUARDS])
def test_a_guarded_name_is_read_but_never_changed_on_the_host(ask, guard):
    name = guard.replace("*", "x")
    for spelling in (name, name.upper(), f"{name}/below"):
        path = f"/work/out/deep/{spelling}"
        assert ask("read", path).allowed
        assert ask("write", path.replace("/out", "")).allowed
        for action in (action for action in FileAction if action.changes):
            decision = ask(action.value, path)
            assert (decision.allowed, decision.absent) == (False, False)
            assert decision.rule.name == f"guard[{guard}]"


def test_required_names_are_guarded(ask):
    required = (
        ".git/hooks/pre-commit .git/config .gitmodules .envrc .vscode/tasks.json .idea/x a.pth "
        "sitecustomize.py conftest.py Makefile .github/workflows/x.yml .bashrc .profile .zshrc "
        ".mcp.json"
    )
    assert [name for name in required.split() if ask("create", f"/work/out/{name}").allowed] == []


@pytest.mark.parametrize(
    "action", [FileAction.RENAME, FileAction.REMOVE, FileAction.REMOVE_DIRECTORY]
)
def test_what_holds_a_mount_stays_where_it_is(policy, action):
    deep = policy(
        """filesystem:
  - {mount: /work, source: scratch, access: read-write}
  - {mount: /work/a/b, source: ./x, access: read}
"""
    )
    assert not decide(deep, FileRequest(action, "/work/a")).allowed
    assert decide(deep, FileRequest(action, "/work/ab")).allowed


def test_no_connection_and_no_program_is_granted(policy):
    asked = policy(SALES + "network: none\n")
    connection = decide(asked, NetworkRequest("evil.example", 443))
    assert not connection.allowed
    assert connection.reason == (
        "connect evil.example:443 is not granted: this policy grants no network"
    )
    assert (connection.rule.name, connection.rule.line) == ("network", 7)
    program = decide(asked, ProcessRequest("sh"))
    assert not program.allowed
    assert program.reason == "run sh is not granted: starting programs is not granted"


# Reasons


@pytest.mark.parametrize(
    ("action", "path", "reason", "offer"),
    [
        (
            "write",
            "/data/x.csv",
            "writing /data/x.csv is not granted: /data is granted for reading only",
            "; you may write below /work, /work/out",
        ),
        (
            "read",
            "/etc/passwd",
            "reading /etc/passwd is not granted: no grant covers the path",
            "; you may read below /data, /work, /work/out",
        ),
        (
            "read",
            "/data/x.key",
            "reading /data/x.key is not granted: the name is denied below /data",
            "; you may read below /data, /work, /work/out",
        ),
        (
            "rename",
            "/work",
            "renaming /work is not granted: the path is a mount point or holds one",
            "; you may write below /work, /work/out",
        ),
    ],
)
def test_a_reason_lists_what_is_granted_only_where_the_policy_discloses_it(
    policy, action, path, reason, offer
):
    request = FileRequest(FileAction(action), path)
    assert decide(policy(SALES), request).reason == reason
    assert decide(policy(SALES + "disclose: true\n"), request).reason == reason + offer


def test_a_policy_that_grants_nothing_says_so_where_it_discloses(policy):
    decision = decide(policy("disclose: true\n"), FileRequest(FileAction.WRITE, "/data"))
    assert decision.reason.endswith("no grant covers the path; you may write nowhere")


@pytest.mark.parametrize("action", FileAction)
def test_every_act_has_words(policy, action):
    decision = decide(policy(SALES), FileRequest(action, "/work/x"))
    assert decision.allowed
    assert decision.reason.endswith(" in /work is granted")


def test_a_name_cannot_forge_a_line_of_a_log(ask):
    reason = ask("read", "/x\n2026 allowed\u202e\ud800").reason
    assert reason == (
        r"reading /x\n2026 allowed\u202e\ud800 is not granted: no grant covers the path"
    )
    assert len(ask("read", "/" + "\u202e" * 4000).reason) < 1500


def test_rules_point_at_the_line_that_decided(ask):
    assert (ask("read", "/data/x").rule.name, ask("read", "/data/x").rule.line) == (
        "filesystem[0]",
        4,
    )
    denied = ask("read", "/data/.git").rule
    assert (denied.name, denied.line, denied.column) == ("filesystem[0].deny[1]", 4, 73)
    assert ask("read", "/etc").rule.name == "filesystem"


def test_a_deny_without_a_place_of_its_own_points_at_its_grant():
    grant = FileGrant("/d", "/s", Access.READ, ("x",), 0, 0, Rule("filesystem[0]", "f", 3))
    policy = Policy("p", "", "f", filesystem=(grant,))
    rule = decide(policy, FileRequest(FileAction.READ, "/d/x")).rule
    assert (rule.name, rule.line) == ("filesystem[0].deny[0]", 3)


# What a directory may hold


@pytest.mark.parametrize(
    ("text", "path", "hides"),
    [
        ("read, deny: [a/b/*.key]", "/data/a", True),
        ("read, deny: [a/b/*.key]", "/data/a/b", True),
        ("read, deny: [a/b/*.key]", "/data/a/b/x.key", True),
        ("read, deny: [a/b/*.key]", "/data/a/c", False),
        ("read, deny: [a/b/*.key]", "/data/a/b/c/d", False),
        ("read, deny: [a/b/x.key]", "/data/a/b/c", False),
        ("read, deny: ['**/x']", "/data/anything", True),
        ("read", "/data/anything", False),
        ("read", "/elsewhere", True),
        ("read", "/data/../data", True),
        ("read", "/data", True),
        ("read-write", "/data/anything", True),
    ],
)
def test_may_hide_says_where_a_directory_must_be_looked_through(policy, text, path, hides):
    one = policy(f"filesystem:\n  - {{mount: /data, source: ./x, access: {text}}}\n")
    assert compile_policy(one).may_hide(path) is hides


def test_memory_of_the_session_hides_nothing_though_it_is_written(policy):
    one = policy("filesystem:\n  - {mount: /data, source: scratch, access: read-write}\n")
    assert not compile_policy(one).may_hide("/data/anything")
    assert compile_policy(one).may_hide("/data")


def test_only_whole_names_above_a_mount_point_keep_their_place(policy):
    mounts = ("/work", "/work/outer/most")
    grants = (f"  - {{mount: {one}, source: scratch, access: read-write}}\n" for one in mounts)
    decider = compile_policy(policy("filesystem:\n" + "".join(grants)))
    allowed = {
        path: decider.decide(FileRequest(FileAction.REMOVE_DIRECTORY, path)).allowed
        for path in ("/work/out", "/work/outer", "/work/outer/m", "/work/outer/most", "/work/x")
    }
    assert [path for path, one in allowed.items() if not one] == ["/work/outer", "/work/outer/most"]


# Properties over policies and requests that nobody thought of

NAMES = st.sampled_from(["a", "b", "A", "a.key", ".git", "makefile", "conftest.py"])
MOUNTS = st.lists(st.sampled_from(["a", "b", "data"]), min_size=1, max_size=3).map(
    lambda parts: "/" + "/".join(parts)
)
GLOBS = st.lists(st.sampled_from(["*", "**", "a", "?", "*.key", "b*"]), min_size=1, max_size=3)


@st.composite
def policies(draw) -> Policy:
    mounts = draw(st.lists(MOUNTS, unique=True, max_size=4))
    grants = [
        FileGrant(
            mount=mount,
            source=draw(st.sampled_from([None, f"/srv/{index}"])),
            access=draw(st.sampled_from(Access)),
            deny=tuple(draw(st.lists(GLOBS.map("/".join), max_size=2))),
            quota=1,
            max_files=1,
            rule=Rule(f"filesystem[{index}]", "f", index + 1),
        )
        for index, mount in enumerate(mounts)
    ]
    return Policy("p", "", "f", filesystem=tuple(grants), disclose=draw(st.booleans()))


PATHS = st.builds(
    lambda start, rest: start + "".join(f"/{name}" for name in rest),
    MOUNTS | st.just("") | st.just("/data/.."),
    st.lists(NAMES, max_size=4),
)
REQUESTS = st.builds(FileRequest, st.sampled_from(FileAction), PATHS)


def glob_matches(pattern: list[str], parts: list[str]) -> bool:
    if not pattern:
        return True
    head, rest = pattern[0], pattern[1:]
    if head == "**":
        return any(glob_matches(rest, parts[skip:]) for skip in range(len(parts) + 1))
    if not parts:
        return False
    name = parts[0]
    one = (
        head == "*"
        or (head == "?" and len(name) == 1)
        or (head == "*.key" and name.endswith(".key"))
        or (head == "b*" and name.startswith("b"))
        or head == name
    )
    return one and glob_matches(rest, parts[1:])


def reference(policy: Policy, request: FileRequest) -> tuple[bool, bool, FileGrant | None]:
    """
    The language's meaning written down a second time, slowly: allowed, absent, grant.
    """
    parts = request.path.split("/")
    if parts[0] != "" or len(parts) < 2 or {"", ".", ".."} & set(parts[1:]):
        return False, True, None
    path = parts[1:]
    covering = []
    for grant in policy.filesystem:
        mount = grant.mount.split("/")[1:]
        if path[: len(mount)] == mount:
            covering.append((len(mount), grant))
    if not covering:
        return False, True, None
    depth, grant = max(covering, key=lambda pair: pair[0])
    rest = path[depth:]
    if any(glob_matches(pattern.split("/"), rest) for pattern in grant.deny):
        return False, True, grant
    if request.action in LOOKING:
        return True, False, grant
    if grant.access is Access.READ:
        return False, False, grant
    removing = request.action.value in {"create", "remove", "rmdir", "rename"}
    if removing and any(
        one.mount.split("/")[1 : len(path) + 1] == path for one in policy.filesystem
    ):
        return False, False, grant
    guarded = {".git", "makefile", "conftest.py"}
    if grant.source is not None and guarded & {name.lower() for name in rest}:
        return False, False, grant
    return True, False, grant


@settings(max_examples=300, deadline=None)
@given(policies(), st.lists(REQUESTS, min_size=5, max_size=20))
def test_decide_agrees_with_the_reference(policy, requests):
    decider = compile_policy(policy)
    for request in requests:
        decision = decider.decide(request)
        assert (decision.allowed, decision.absent, decision.grant) == reference(policy, request)
        assert decision.reason


def test_decide_agrees_with_the_reference_on_100_000_pairs():
    """
    Row Y12. The seed is fixed; every outcome must have occurred, or the test did not run.
    """
    random, outcomes = Random(7), Counter()
    for _ in range(2000):
        policy = random_policy(random)
        decider = compile_policy(policy)
        for _ in range(50):
            action, path = random.choice(list(FileAction)), random_path(random, 5)
            request = FileRequest(action, path)
            decision = decider.decide(request)
            outcome = (decision.allowed, decision.absent, decision.grant)
            assert outcome == reference(policy, request)
            outcomes[decision.allowed, decision.absent, decision.rule.name.partition("[")[0]] += 1
    assert sum(outcomes.values()) == 100_000
    assert min(outcomes.values()) > 100
    assert set(outcomes) == {
        (True, False, "filesystem"),
        (False, True, "filesystem"),
        (False, False, "filesystem"),
        (False, False, "guard"),
    }


def random_path(random: Random, longest: int) -> str:
    names = ["a", "b", "data", "a.key", ".git", "Makefile", "conftest.py"]
    return "".join(f"/{random.choice(names)}" for _ in range(random.randint(1, longest)))


def random_policy(random: Random) -> Policy:
    mounts = {
        "".join(f"/{random.choice(['a', 'b', 'data'])}" for _ in range(random.randint(1, 3)))
        for _ in range(random.randint(0, 5))
    }
    globs = ["*", "**", "a", "?", "*.key", "b*"]
    return Policy(
        "p",
        "",
        "f",
        filesystem=tuple(
            FileGrant(
                mount,
                random.choice([None, "/srv/x"]),
                random.choice(list(Access)),
                tuple(
                    "/".join(random.choices(globs, k=random.randint(1, 3)))
                    for _ in range(random.randint(0, 2))
                ),
                1,
                1,
                Rule(f"filesystem[{index}]", "f", index + 1),
            )
            for index, mount in enumerate(sorted(mounts))
        ),
    )


@given(policies(), REQUESTS, st.randoms(use_true_random=False))
def test_the_order_of_grants_never_matters(policy, request, random):
    shuffled = list(policy.filesystem)
    random.shuffle(shuffled)
    assert decide(replace(policy, filesystem=tuple(shuffled)), request) == decide(policy, request)


@given(policies(), REQUESTS, st.data())
def test_removing_a_grant_never_widens_what_is_granted_of_the_host(policy, request, data):
    """
    What is allowed after the removal was allowed before, or is memory of the session: a mount
    inside a scratch mount leaves the scratch mount when it goes.
    """
    if not policy.filesystem:
        return
    gone = data.draw(st.sampled_from(policy.filesystem))
    kept = tuple(
        grant
        for grant in policy.filesystem
        if grant is not gone and (grant.source is None or not gone.mount.startswith(grant.mount))
    )
    before = decide(replace(policy, filesystem=(*kept, gone)), request)
    after = decide(replace(policy, filesystem=kept), request)
    if after.allowed and not before.allowed:
        assert after.grant is not None
        assert after.grant.source is None


@given(policies(), REQUESTS)
def test_may_hide_is_true_above_every_denied_name(policy, request):
    decider = compile_policy(policy)
    decision = decider.decide(request)
    if decision.grant is None or decision.allowed or not decision.absent:
        return
    path = request.path
    while path.startswith(decision.grant.mount):
        assert decider.may_hide(path)
        path = path.rpartition("/")[0]
