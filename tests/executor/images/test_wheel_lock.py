import pytest

from executor.images.errors import LockRefusedError
from executor.images.guests import DEFAULT
from executor.images.lock import CORE_LOCK, Lock, lock_text, normalise, parse_lock, read_lock
from executor.images.wheels import select

HASH = "sha256:" + "0" * 64


def names(packages) -> list[str]:
    return [package.name for package in packages]


def test_the_lock_of_core_holds_time_zones_alone():
    lock = read_lock(CORE_LOCK)
    assert [(p.name, p.version, p.hashes) for p in lock.packages] == [
        (
            "tzdata",
            "2026.6",
            {"0a10eec6e13ef16b627fabed9a5f2ba61a62b1c67f327305f4e7e412a70b4aec"},
        )
    ]


def test_every_image_has_time_zones_and_sympy_brings_what_it_needs():
    assert names(select(read_lock(), (), DEFAULT)) == ["tzdata"]
    assert names(select(read_lock(), ("sympy",), DEFAULT)) == ["mpmath", "sympy", "tzdata"]


def test_a_lock_of_the_users_own_need_not_name_what_every_image_has():
    lock = parse_lock(f"six==1.17.0 --hash={HASH}\n", "mine.txt")
    assert names(select(lock, ("six",), DEFAULT)) == ["six", "tzdata"]


def test_a_lock_of_the_users_own_may_name_another_release_of_it():
    lock = parse_lock(f"tzdata==2030.1 --hash={HASH}\n", "mine.txt")
    assert [package.version for package in select(lock, (), DEFAULT)] == ["2030.1"]


def test_a_package_that_is_not_in_the_lock_is_refused_with_what_there_is():
    with pytest.raises(LockRefusedError) as caught:
        read_lock().select(["numpy"])
    text = str(caught.value)
    assert "'numpy'" in text
    assert "mpmath 1.3.0" in text
    assert "codecage image lock" in text


def test_names_are_compared_in_one_spelling():
    lock = parse_lock(f"Ruamel_YAML==0.18 --hash={HASH}\n", "x")
    assert names(lock.select(["ruamel.yaml"])) == ["ruamel-yaml"]
    assert normalise("A..B__c-d") == "a-b-c-d"


@pytest.mark.parametrize("name", ["", "../x", "a b", "-x", "x; os", "x\n", "https:"])
def test_what_is_no_name_of_a_package_is_refused(name):
    with pytest.raises(LockRefusedError, match="not the name of a package"):
        normalise(name)


VIA = f"""
# written by a tool
a==1.0 \\
    --hash={HASH} \\
    --hash=sha256:{"1" * 64}
    # via
    #   -r requirements.in
    #   b
b==2.0 --hash={HASH}
    # via c, d
c==3 --hash={HASH}
    # via -r requirements.in
"""


def test_comments_tie_a_package_to_all_that_need_it():
    lock = parse_lock(VIA, "x")
    assert {p.name: p.via for p in lock.packages} == {
        "a": frozenset({"b"}),
        "b": frozenset({"c", "d"}),
        "c": frozenset(),
    }
    assert names(lock.select(["c"])) == ["a", "b", "c"]
    assert names(lock.select(["b"])) == ["a", "b"]
    assert names(lock.select(["a"])) == ["a"]


def test_all_hashes_of_an_entry_are_kept():
    assert parse_lock(VIA, "x").packages[0].hashes == {"0" * 64, "1" * 64}


@pytest.mark.parametrize(
    "line",
    [
        "sympy==1.14.0",
        f"sympy>=1.14.0 --hash={HASH}",
        f"sympy --hash={HASH}",
        "sympy==1.14.0 --hash=md5:" + "0" * 32,
        "sympy==1.14.0 --hash=sha256:" + "0" * 63,
        f"sympy==1.* --hash={HASH}",
        f"sympy[extra]==1.14.0 --hash={HASH}",
        f"sympy==1.14.0 ; python_version > '3' --hash={HASH}",
        f"sympy @ file:///sympy.whl --hash={HASH}",
        "--index-url https://example.invalid/simple",
        "-i https://example.invalid/simple",
        "--extra-index-url=https://example.invalid/simple",
        "--find-links .",
        "--trusted-host example.invalid",
        "-r other.txt",
        "-e .",
        "./sympy.whl",
        f"sympy==1.14.0 --hash={HASH} --global-option=x",
        "sympy==1.14.0 \\",
    ],
)
def test_a_line_that_is_not_an_exact_hashed_release_is_refused_with_its_place(line):
    text = f"ok==1 --hash={HASH}\n{line}\n"
    with pytest.raises(LockRefusedError, match=r"mine\.txt:2:"):
        parse_lock(text, "mine.txt")


def test_a_package_that_is_locked_twice_is_refused():
    with pytest.raises(LockRefusedError, match="already"):
        parse_lock(f"a==1 --hash={HASH}\nA==2 --hash={HASH}\n", "x")


def test_a_lock_that_is_written_is_read_back_as_it_was():
    lock = parse_lock(VIA, "x")
    text = lock_text("mine", lock.packages)
    assert parse_lock(text, "x") == lock
    assert "://" not in text


def test_an_empty_lock_has_no_packages():
    assert parse_lock("# nothing\n\n", "x") == Lock("x", ())


def test_a_lock_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(LockRefusedError, match="cannot be read"):
        read_lock(tmp_path / "absent.txt")


def test_the_line_for_pip_can_be_read_back():
    package = parse_lock(VIA, "x").packages[0]
    again = parse_lock(package.requirement(), "x").packages[0]
    assert (again.name, again.version, again.hashes) == (
        package.name,
        package.version,
        package.hashes,
    )
