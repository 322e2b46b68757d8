import json

import pytest

from executor import cli
from executor.commands import doctor
from executor.commands.doctor import Finding, Verdict

WELL = Finding("kernel", Verdict.OK, "6.18", "")
SO_SO = Finding("disk space", Verdict.WARNING, "200 MB free", "free 500 MB")
ILL = Finding("Landlock", Verdict.FAILED, "not there", "boot with lsm=landlock")


def test_the_doctor_makes_every_check_and_answers_by_its_exit_code(capsys):
    code = cli.main(["doctor", "--json"])
    told = json.loads(capsys.readouterr().out)
    names = [finding["name"] for finding in told]
    assert len(names) == len(set(names)) >= 10
    failed = [finding for finding in told if finding["verdict"] == "failed"]
    assert code == (1 if failed else 0)


@pytest.mark.parametrize(
    ("findings", "code"), [([WELL], 0), ([WELL, SO_SO], 0), ([WELL, ILL, SO_SO], 1)]
)
def test_only_a_failed_check_makes_the_answer_no(findings, code, monkeypatch, capsys):
    monkeypatch.setattr(doctor, "examine", lambda: findings)
    assert cli.main(["doctor"]) == code
    assert capsys.readouterr().out == doctor.table(findings) + "\n"


def test_the_table_says_how_to_mend_what_is_not_well():
    assert doctor.table([WELL, SO_SO, ILL]).splitlines() == [
        "ok       kernel      6.18",
        "warning  disk space  200 MB free",
        "                     -> free 500 MB",
        "failed   Landlock    not there",
        "                     -> boot with lsm=landlock",
        "",
        "1 of 3 checks failed: no session can start until they pass.",
    ]
    assert doctor.table([WELL]).endswith("\n\nSessions can run here.")
