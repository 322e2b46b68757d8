"""
The review page as a reviewer uses it, in headless Chromium: the session in which the agent tried to
read a secret, why it was denied, and what was committed. The sessions are of a real guest.

The pictures are kept in `$CODECAGE_ARTEFACTS`, else in `build/review/` here.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import agent_client
from executor.capture.vault import Vault
from tests.e2e.serving import ACCOUNT, ROOT, needs_image, private_directory
from tests.executor.audit.markup import Markup
from tests.reviewing import CHROMEDRIVER, CHROMIUM, environment, needs_chromium, reviewing

pytestmark = [pytest.mark.image, needs_image, needs_chromium]

POLICY = """\
version: 1
name: books
description: Reads the drop, keeps the ledger.
image: core
audit: {{level: replay}}
filesystem:
  - {{mount: /drop, source: {drop}, access: read}}
  - {{mount: /ledger, source: {ledger}, access: transaction, quota: 32Mi, max_files: 50}}
deny:
  - {{path: "/drop/secrets/**", reason: "Keys are not for agents; ask for a credential grant."}}
"""
NATIVE = """\
version: 1
name: native
cage: process
image: native-core
audit: {{level: replay, redact: [password]}}
filesystem:
  - {{mount: /ledger, source: {ledger}, access: transaction, quota: 32Mi, max_files: 50}}
"""
HONEST = "print(sum(range(10**6)))\nprint(open('/drop/report.csv').read())"
CURIOUS = """
for name in ('/drop/report.csv', '/drop/secrets/api.key'):
    try:
        print(len(open(name).read()))
    except OSError as error:
        print(error)
"""
WORK = """
with open('/ledger/main.bean', 'a') as book: book.write('2026-01-03 open Income:Sales\\n')
with open('/ledger/note.txt', 'w') as file: file.write('sold')
"""
HOSTILE = r"""
names = ['<script>document.title="taken"</script>', '<img src=x onerror=document.title=1>',
    '</code></td></table><style>body{display:none}</style>', '\x1b[2J\x1b[31mred', '\u202egpj.exe',
    'javascript:alert(1)', '{{7*7}}', '{% raw %}', 'a\r\nSet-Cookie: taken=1', '"onfocus=alert(1) x="',
    'x' * 10_000_000]
for name in names:
    try: open('/drop/secrets/' + name)
    except (OSError, ValueError): pass
print('\x1b[31m<script>document.title=1</script>\u202e', r'\u202e')
"""
HOSTILE_WORK = r"""
import os
texts = ['<script>document.title="taken"<' + '/script>', '<img src=x onerror=document.title=1>',
    '\x1b[2J\x1b[31mred', '\u202egpj.exe', '{{7*7}}', 'a\r+forged', 'a\n+++ b']
for place, text in enumerate(texts):
    with open(f'/ledger/{text.replace("/", "|")}', 'w', newline='') as file: file.write(text)
with open('/ledger/binary', 'wb') as file: file.write(bytes(range(256)))
with open('/ledger/large', 'w') as file: file.write('<b>x</b>\n' * 1_100_000)
"""
NATIVE_WORK = """
with open('/ledger/main.bean', 'a') as book: book.write('2026-02-01 open Income:Native\\n')
with open('/ledger/access', 'w') as file: file.write('password: tr0ub4dor\\nuser: me\\n')
"""


class World:
    pass


@pytest.fixture(scope="module")
def world():
    with private_directory() as where:
        made = World()
        where.chmod(0o755)
        drop, ledger, policies = (where / name for name in ("drop", "ledger", "policies"))
        for directory in (drop, ledger, policies):
            directory.mkdir()
        (drop / "secrets").mkdir()
        (drop / "report.csv").write_text("region,total\nnorth,12\n")
        (drop / "secrets" / "api.key").write_text("the secret itself")
        (ledger / "main.bean").write_text("2026-01-02 open Assets:Cash\n")
        for path in (ledger, ledger / "main.bean"):
            path.chmod(0o777)
        (policies / "books.yaml").write_text(POLICY.format(drop=drop, ledger=ledger))
        (policies / "native.yaml").write_text(NATIVE.format(ledger=ledger))
        made.store = store = where / "audit" / "audit.sqlite3"
        with agent_client.connect(policies=str(policies), audit=str(store), run_as=ACCOUNT) as cage:
            made.honest = used(cage, HONEST)
            made.erased = used(cage, WORK, commit=True)
            (ledger / "main.bean").write_text("2026-01-02 open Assets:Cash\n")
            (ledger / "note.txt").unlink()
            made.curious = used(cage, CURIOUS, WORK, commit=True)
            made.hostile = used(cage, HOSTILE)
            made.forger = used(cage, HOSTILE_WORK, commit=True)
            made.native = used(cage, NATIVE_WORK, commit=True, policy="native")
        with reviewing(store, where / "review", "--policies", str(policies), "--code") as review:
            made.review = review
            yield made


def used(cage, *codes, commit=False, policy="books"):
    with cage.session(policy) as session:
        for code in codes:
            seen = session.run(code)
            assert seen.ok, seen.text
        if commit:
            assert session.commit("/ledger").outcome is agent_client.CommitOutcome.COMMITTED
    return session.id


@pytest.fixture(scope="module")
def browser():
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    # Inside a container Chromium has no sandbox of its own, and the pages here are ours.
    for word in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(word)
    options.add_argument("--window-size=1280,900")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(CHROMEDRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def page(world, browser):
    """
    The browser, signed in.
    """
    browser.delete_all_cookies()
    browser.get(world.review.address)
    sign_in(browser, world.review.token)
    return browser


def sign_in(browser, token):
    field = browser.find_element("name", "token")
    field.send_keys(token)
    field.submit()
    waited(browser, lambda: browser.find_elements("css selector", "form[action='/logout']"))


def waited(browser, condition):
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, 30).until(lambda _: condition())


def follow(browser, words):
    before = browser.find_element("tag name", "html")
    browser.find_element("partial link text", words).click()
    from selenium.webdriver.support.expected_conditions import staleness_of
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 30).until(staleness_of(before))


def text(browser):
    return browser.find_element("tag name", "body").text


def keep(browser, name):
    """
    A picture of the whole page; the file.
    """
    place = Path(os.environ.get("CODECAGE_ARTEFACTS", ROOT / "build" / "review"))
    place.mkdir(parents=True, exist_ok=True)
    height = browser.execute_script("return document.documentElement.scrollHeight")
    width = browser.execute_script("return window.innerWidth")
    browser.set_window_size(width, min(max(height + 160, 600), 6000))
    assert browser.save_screenshot(str(place / f"{name}.png"))
    browser.set_window_size(1280, 900)
    return place / f"{name}.png"


def looks(browser, scheme, width):
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def test_a_reviewer_finds_the_secret_that_was_asked_for_why_not_and_what_was_committed(world, page):
    keep(page, "1-sessions")
    assert "secret" not in text(page)
    page.get(world.review.address + "search")
    page.find_element("id", "path").send_keys("/drop/secrets/*.key")
    page.find_element("id", "decision").send_keys("deny")
    page.find_element("id", "decision").submit()
    waited(page, lambda: "api.key" in text(page))
    keep(page, "2-search")
    rows = page.find_elements("css selector", "tr.denied")
    assert rows
    assert all(world.curious[:12] in row.text for row in rows)

    follow(page, world.curious[:12])
    assert "verified to record" in text(page) or "not verified yet" in text(page)
    denied = page.find_element("id", "denied").text
    assert "read /drop/secrets/api.key" in denied
    assert "Keys are not for agents" in denied
    changes = page.find_element("css selector", "ul.changes").text
    assert "modified main.bean" in changes
    assert "added note.txt" in changes
    diff = page.find_element("css selector", "pre.diff")
    assert "2026-01-02 open Assets:Cash" in diff.text
    assert diff.find_element("class name", "added").text == "+2026-01-03 open Income:Sales"
    keep(page, "3-session")

    page.find_element("css selector", "#denied td a").click()
    waited(page, lambda: page.find_elements("id", "rule"))
    marked = page.find_element("id", "rule").text
    assert marked.split(maxsplit=1)[1].startswith('- {path: "/drop/secrets/**"')
    why = page.find_element("css selector", "pre.why").text
    assert "the agent was told" in why
    assert f"cell 1 of session {world.curious}" in why
    keep(page, "4-why")


def test_hostile_names_are_text_and_nothing_of_them_acts(world, page):
    page.get(f"{world.review.address}session/{world.hostile}")
    shown = text(page)
    assert page.title == f"Session {world.hostile[:12]} · codecage"
    for part in (
        '<script>document.title="taken"</script>',
        "</code></td></table><style>body{display:none}</style>",
        r"\x1b[2J\x1b[31mred",
        r"\u202egpj.exe",
        "{{7*7}}",
        r"a\r\nSet-Cookie: taken=1",
    ):
        assert part in shown, part
    assert not page.find_elements("css selector", "main img:not([src$='.svg']), main style, script")
    assert not page.find_elements("css selector", "a[href^='javascript' i], [onerror], [onfocus]")
    assert {cookie["name"] for cookie in page.get_cookies()} == {"codecage_review"}
    assert len(page.page_source) < 500_000
    assert [entry for entry in page.get_log("browser") if entry["level"] == "SEVERE"] == []
    keep(page, "5-hostile")


def test_hostile_names_and_contents_of_a_commit_are_text_too(world, page):
    page.get(f"{world.review.address}session/{world.forger}")
    files = page.find_element("id", "files")
    assert page.title == f"Session {world.forger[:12]} \u00b7 codecage"
    for part in (
        '+<script>document.title="taken"</script>',
        "+<img src=x onerror=document.title=1>",
        r"+\x1b[2J\x1b[31mred",
        r"+\u202egpj.exe",
        "+{{7*7}}",
        r"+a\r+forged",
        r"a\n+++ b",
        "No diff: it is no text in UTF-8.",
        "No diff: it is longer than 256 KiB.",
    ):
        assert part in files.text, part
    assert not page.find_elements("css selector", "#files img, #files style, script, [onerror]")
    assert len(page.page_source) < 500_000
    assert [entry for entry in page.get_log("browser") if entry["level"] == "SEVERE"] == []
    keep(page, "7-hostile-diffs")


def test_what_a_session_of_the_process_cage_committed_is_seen_and_secrets_are_not(world, page):
    page.get(f"{world.review.address}session/{world.native}")
    assert "replay incomplete (native code)" in page.find_element("class name", "badges").text
    shown = page.find_element("id", "files").text
    assert "+2026-02-01 open Income:Native" in shown
    assert "+password: [redacted]" in shown
    assert "+user: me" in shown
    assert "tr0ub4dor" not in page.page_source
    assert not page.find_elements("partial link text", "Code and output")
    assert all(
        b"tr0ub4dor" not in path.read_bytes() for path in world.store.parent.rglob("*.diffs")
    )
    page.find_element("css selector", "#files h3 a").click()
    waited(page, lambda: page.find_elements("css selector", "pre.why"))
    assert "+2026-02-01 open Income:Native" in text(page)
    keep(page, "8-native-diff")


def test_the_commands_show_the_diff_where_it_is_asked_for(world, tmp_path):
    told = audit_command(world, "show", world.native, "--diffs")
    assert "+2026-02-01 open Income:Native" in told
    assert "open Income" not in audit_command(world, "show", world.native)
    told = audit_command(world, "report", world.forger, "--diffs")
    assert r"+\u202egpj.exe" in told
    assert all(line.isprintable() for line in told.split("\n"))
    told = json.loads(audit_command(world, "report", world.curious, "--diffs", "--json"))
    (commit,) = told["commits"]
    assert [one["path"] for one in commit["diffs"]] == ["main.bean", "note.txt"]
    paper = tmp_path / "paper.html"
    audit_command(world, "report", world.curious, "--html", str(paper), "--diffs")
    assert "+2026-01-03 open Income:Sales" in paper.read_text()
    audit_command(world, "report", world.curious, "--html", str(paper))
    assert "open Income" not in paper.read_text()
    assert "--diffs shows it" in paper.read_text()


def audit_command(world, command, *options):
    done = subprocess.run(
        [
            *(sys.executable, "-m", "executor.cli", "audit", command),
            *("--audit", str(world.store), *options),
        ],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout


def test_a_captured_session_is_replayable_and_shows_its_code_and_what_it_printed(world, page):
    page.get(f"{world.review.address}session/{world.curious}")
    assert "replayable" in page.find_element("css selector", ".badges").text
    follow(page, "Code and output")
    cells = page.find_elements("css selector", "section.cell")
    assert len(cells) == 2, text(page)
    assert "open(name).read()" in cells[0].text
    assert "Keys are not for agents" in cells[0].text
    assert "book.write(" in cells[1].text
    assert "which agrees with the record" in text(page)
    assert cells[0].find_element("css selector", "pre.python .keyword").text == "for"
    keep(page, "6-code")


def test_hostile_code_and_output_are_text_too(world, page):
    page.get(f"{world.review.address}session/{world.hostile}/cells")
    assert page.title == f"Code of session {world.hostile[:12]} \u00b7 codecage"
    assert "<script>document.title" in text(page)
    marked = [one.text for one in page.find_elements("css selector", "pre i")]
    assert marked == [r"\x1b", r"\u202e"]
    assert not page.find_elements("css selector", "main img, main style, script")


def test_a_capture_that_was_altered_or_erased_is_not_shown(world):
    place = f"/session/{world.honest}/cells"
    assert "sum(range(10**6))" in Markup(world.review.get(place).text).text
    (capture,) = world.store.parent.glob(f"*/{world.honest}.capture")
    kept = capture.read_bytes()
    capture.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    altered = world.review.get(place)
    assert (altered.status, "is not what was written" in altered.text) == (404, True)
    capture.write_bytes(kept)
    assert world.review.get(place).status == 200
    Vault(world.store).erase(world.honest)
    gone = world.review.get(place)
    assert gone.status == 404
    assert "sum" not in Markup(gone.text).text
    assert "it was erased, or is elsewhere" in Markup(gone.text).text


def test_an_erased_session_says_that_its_diff_was_erased(world):
    place = f"/session/{world.erased}"
    assert "+2026-01-03 open Income:Sales" in world.review.get(place).text
    Vault(world.store).erase(world.erased)
    gone = world.review.get(place)
    assert gone.status == 200
    assert "it was erased" in gone.text
    assert "open Income" not in gone.text
    assert "main.bean" in gone.text


def test_the_charts_are_pictures_that_load(world, page):
    page.get(f"{world.review.address}session/{world.curious}")
    images = page.find_elements("css selector", "figure img")
    assert images
    assert all(image.get_property("naturalWidth") == 320 for image in images)
    assert all("of 2 cells" in image.get_attribute("alt") for image in images)


def test_the_keyboard_alone_leads_to_the_content(world, page):
    from selenium.webdriver.common.keys import Keys

    page.find_element("tag name", "body").send_keys(Keys.TAB)
    first = page.switch_to.active_element
    assert first.text == "Skip to the content"
    first.send_keys(Keys.ENTER)
    assert page.switch_to.active_element.get_attribute("id") == "main"
    page.switch_to.active_element.send_keys(Keys.TAB)
    assert page.switch_to.active_element.tag_name == "a"


def test_without_javascript_all_of_it_is_read(world, page):
    page.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        page.get(f"{world.review.address}session/{world.curious}")
        assert "api.key" in text(page)
        follow(page, "Search")
        assert page.find_element("id", "path")
    finally:
        page.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 380)])
def test_no_page_is_wider_than_its_window(world, page, scheme, width):
    looks(page, scheme, width)
    try:
        for name, place in (
            ("sessions", ""),
            ("session", f"session/{world.curious}"),
            ("hostile", f"session/{world.hostile}"),
            ("search", "search"),
            ("readers", "readers"),
            ("record", "record/1"),
        ):
            page.get(world.review.address + place)
            room = page.execute_script(
                "return document.documentElement.clientWidth - document.body.scrollWidth"
            )
            assert room >= 0, name
            page.save_screenshot(str(keep_place() / f"{name}-{scheme}-{width}.png"))
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        looks(page, "light", 1280)
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def keep_place():
    place = Path(os.environ.get("CODECAGE_ARTEFACTS", ROOT / "build" / "review"))
    place.mkdir(parents=True, exist_ok=True)
    return place
