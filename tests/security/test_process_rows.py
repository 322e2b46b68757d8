"""
Every numbered attack on the process cage has a test, or a reason why it has none here.

Rows E001 to E220 are the attacks on a box, P01 to P20 those on the cage as a whole. A row is carried
by an attack of the families (`tests/executor/process/attack_*.py`, each run without a box, in one
of root, in one of a user without rights, and without namespaces), by a test whose name ends in its
number, or by a test that is named here.
"""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent
BOXES = TESTS / "executor" / "process"
ROWS = frozenset(
    {*(f"e{number:03}" for number in range(1, 221)), *(f"p{number:02}" for number in range(1, 21))}
)
# Here the families use a number for a neighbour of its attack: it does not count.
NEIGHBOURS = frozenset({"e203", "e211", "e213", "e214", "e215"})

_GRANTS = "executor/process/test_box_grants.py::test_a_grant_gives_what_it_says_and_no_more"
_NET = "executor/process/test_box_network.py"
_ROOT = "executor/process/test_attacks.py::test_in_a_box_of_root_the_attack_is_blocked"
_USER = (
    "executor/process/test_attacks.py::test_in_a_box_of_a_user_without_rights_the_attack_is_blocked"
)
_BARE = (
    "executor/process/test_bare_boxes.py::test_without_namespaces_the_attack_is_blocked_or_told_of"
)
_JAIL = "executor/process/test_jail.py"
_FILTER = "executor/process/test_filter.py"
_GRANTED_FILTER = "executor/process/test_filter_grants.py"
_DENIED = f"{_NET}::test_what_is_not_granted_is_refused_once_recorded_once_and_nothing_leaves"
_HTTP = f"{_NET}::test_each_request_on_a_connection_in_the_clear_is_decided"
_SMUGGLED = (
    "security/test_network_http.py::test_n09_a_request_that_could_be_read_in_two_ways_is_refused"
)
_SERVER = "e2e/test_process_cage.py"
_NAMED = "security/test_network_names.py"

ELSEWHERE = {
    "e148": (
        "executor/process/test_zygote_native.py::test_every_generator_of_numpy_differs_between_sessions",
        "executor/process/test_worker_reseed.py::test_every_generator_has_a_state_of_its_own_and_of_the_seed",
    ),
    # There is no proxy: what a box connects to with its own TCP is decided and carried outside.
    "e167": (_DENIED,),
    "e168": (_HTTP, _SMUGGLED),
    "e169": (f"{_NET}::test_every_spelling_of_a_name_is_one_name",),
    "e170": (
        f"{_NAMED}::test_n02_a_nul_or_line_end_never_reaches_a_request",
        "executor/process/test_box_names.py::test_no_name_is_too_odd_to_be_refused",
    ),
    "e171": (f"{_NAMED}::test_n03_the_host_that_is_dialled_is_the_host_that_was_decided",),
    "e172": (
        _DENIED,
        "security/test_network_walls.py::test_n05_an_address_is_reached_by_its_own_grant_only",
    ),
    "e173": (f"{_NET}::test_an_address_of_a_class_that_is_not_granted_is_not_dialled",),
    "e174": (f"{_NAMED}::test_n06_a_name_that_moves_is_vetted_each_time_it_is_asked",),
    "e175": (f"{_NET}::test_a_port_that_nobody_grants_has_its_denial_when_the_guest_asks_why",),
    "e176": (_HTTP,),
    "e177": (_HTTP, _SMUGGLED),
    "e178": (f"{_NET}::test_tls_has_to_name_the_host_that_is_granted",),
    "e179": (f"{_NET}::test_queries_end_at_the_box_and_other_datagrams_end_nowhere",),
    # A relay would have to listen, which no filter of a box allows.
    "e180": (_GRANTS,),
    "e181": (
        f"{_NET}::test_a_flood_of_connections_is_held_to_the_limit_and_costs_the_server_nothing",
    ),
    "e182": (f"{_NET}::test_a_policy_without_network_has_no_ports",),
    "e183": (f"{_NET}::test_a_broker_that_dies_takes_its_connections_and_opens_nothing",),
    "e190": (f"{_SERVER}::test_a_cell_that_ignores_its_interrupts_is_killed",),
    "e192": (f"{_SERVER}::test_memory_in_files_counts_and_who_holds_too_much_is_told_why",),
    "e193": (
        "executor/process/test_box_work.py::test_what_is_written_to_memory_files_counts_as_memory",
    ),
    "e199": (f"{_SERVER}::test_a_killed_server_takes_its_boxes_with_it",),
    "e208": (
        f"{_JAIL}::test_a_plan_that_cannot_be_meant_is_refused",
        "policy/test_policy_meaning.py::test_a_dangerous_path_is_refused_when_it_is_opened",
    ),
    "e211": (_ROOT, _GRANTS),
    "e213": (
        f"{_FILTER}::test_every_number_is_answered_as_the_golden_table_says",
        f"{_GRANTED_FILTER}::test_the_program_says_what_the_rows_say_for_every_number_and_near_miss",
    ),
    "p01": (
        f"{_FILTER}::test_every_number_is_answered_as_the_golden_table_says",
        f"{_FILTER}::test_every_x32_number_is_killed",
        "executor/process/test_box_work.py::test_every_row_of_the_filter_is_seen_at_work",
    ),
    "p02": (_ROOT, _USER, _BARE),
    "p03": (f"{_FILTER}::test_arguments_decide_where_a_row_says_so", _ROOT),
    "p05": (_ROOT, _USER, _BARE),
    "p09": (_ROOT, _USER, _BARE),
    "p10": ("policy/test_policy_problems.py::test_every_mistake_is_shown_with_its_place",),
    "p12": (f"{_SERVER}::test_sessions_leave_no_process_descriptor_or_group_behind", _GRANTS),
    "p13": (_GRANTS,),
    "p14": (_ROOT, _USER),
    "p20": (
        f"{_JAIL}::test_a_host_that_refuses_a_mechanism_gets_no_box",
        f"{_JAIL}::test_the_self_test_sees_a_layer_that_is_missing",
    ),
}
NOT_HERE = {
    "e205": "there is no export of archives: a client is given one regular file at a time, by"
    " GetFile, whose attacks are row e204",
}


def _functions() -> dict[str, set[str]]:
    """
    The names of tests, by file.
    """
    return {
        str(path.relative_to(TESTS)): set(
            re.findall(r"^(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE)
        )
        for path in TESTS.rglob("test_*.py")
    }


def _of_families() -> set[str]:
    """
    The numbers of the attacks in the families.
    """
    entry = re.compile(r'^    "\w+": Attack\(\s*(\d+),|^    \((\d+), "\w+", \(', re.MULTILINE)
    texts = [path.read_text() for path in BOXES.glob("attack_*.py")]
    found = {int(one or other) for text in texts for one, other in entry.findall(text)}
    return {f"e{number:03}" for number in found} - NEIGHBOURS


def _of_names() -> set[str]:
    names = [name for names in _functions().values() for name in names]
    return {row for name in names for row in re.findall(r"_(e\d{3}|p\d{2})(?=_|$)", name)}


def _carried() -> set[str]:
    return _of_families() | _of_names() | set(ELSEWHERE)


def test_every_attack_has_a_test_or_a_reason() -> None:
    assert ROWS - _carried() - set(NOT_HERE) == set()


def test_no_attack_has_a_test_and_a_reason_and_none_is_unknown() -> None:
    assert _carried() & set(NOT_HERE) == set()
    assert (_carried() | set(NOT_HERE)) - ROWS == set()


@pytest.mark.parametrize("row", ELSEWHERE)
def test_what_is_named_for_an_attack_is_there(row: str) -> None:
    functions = _functions()
    for place in ELSEWHERE[row]:
        path, name = place.split("::")
        assert name in functions[path], place


def test_the_families_are_read_whole() -> None:
    """
    As many numbers as they had when this was written, or more: the reading is by their form.
    """
    assert len(_of_families()) >= 150
    assert {"e001", "e083", "e126", "e166"} <= _of_families()
