"""
The images of a policy: how they are said, what is meant, and what is answered for each.
"""

import pytest

from policy.builtin import CALCULATOR
from policy.decide import decide
from policy.doubts import SHIPPED_IMAGES, doubts
from policy.explain import explain, parse_request, to_json
from policy.requests import ImageRequest
from policy.types import Rule


@pytest.mark.parametrize(
    ("text", "images"),
    [
        ("", ("core",)),
        ("image: data\n", ("data",)),
        ("image: [data]\n", ("data",)),
        ("image: [core, data, math]\n", ("core", "data", "math")),
        ("image:\n  - web\n  - core\n", ("web", "core")),
        ('image: ["3", a.b_c-d]\n', ("3", "a.b_c-d")),
        (f"image: [{', '.join(f'i{n}' for n in range(16))}]\n", tuple(f"i{n}" for n in range(16))),
    ],
)
def test_a_policy_has_one_image_or_several_of_which_the_first_is_the_default(policy, text, images):
    found = policy(text)
    assert (found.images, found.image) == (images, images[0])


@pytest.mark.parametrize(
    ("one", "same"),
    [
        ("", "image: core\n"),
        ("image: core\n", "image: [core]\n"),
        ("image: [core, data, web]\n", "image:\n  - core\n  - web\n  - data\n"),
    ],
)
def test_the_same_images_have_the_same_digest(policy, one, same):
    assert policy(one).digest == policy(same).digest


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("image: core\n", "image: data\n"),
        ("image: core\n", "image: [core, data]\n"),
        ("image: [core, data]\n", "image: [data, core]\n"),
        ("image: [core, data]\n", "image: [core, web]\n"),
    ],
)
def test_other_images_or_another_default_have_another_digest(policy, one, other):
    assert policy(one).digest != policy(other).digest


def test_the_digest_of_a_policy_with_one_image_is_what_it_was_before_there_were_lists(policy):
    # Of this text, by the release that knew one image only: older records name it.
    assert (
        policy("image: science\n").digest
        == "4f4f26c856ea204274ee0b2258f49f65a0c310ecf5818b06003b2f2d796a74ed"
    )


def test_what_stands_in_the_list_is_granted_and_nothing_else(policy):
    found = policy("image: [core, data]\n")
    line = Rule("image", "sample.yaml", 3, 1, "image: [core, data]")
    for image in ("core", "data"):
        decision = decide(found, ImageRequest(image))
        assert (decision.allowed, decision.rule) == (True, line)
    denied = decide(found, ImageRequest("web"))
    assert (denied.allowed, denied.rule, denied.absent) == (False, line, False)
    assert denied.reason == "the image web is not granted: this policy has core, data"
    assert denied.remedy == "web in the list `image` would allow it"


@pytest.mark.parametrize(("case", "image"), [("allowed", "math"), ("denied", "data")])
def test_an_answer_about_an_image_is_explained_like_any_other(policy, expected, case, image):
    found, request = policy("image: [core, math]\n"), parse_request(f"image {image}")
    expected(f"explain-image-{case}", explain(found, request))
    expected(f"explain-image-{case}.json", to_json(found, request))


@pytest.mark.parametrize("image", ["", "Core", "core ", "cor", "core,data", "../core", "core\0"])
def test_a_name_that_is_nearly_an_image_is_not_granted(policy, image):
    assert not decide(policy("image: [core, data]\n"), ImageRequest(image)).allowed


def test_a_name_that_was_asked_for_cannot_forge_a_line_or_flood(policy):
    reason = decide(policy(), ImageRequest("a\nb" + "x" * 10_000)).reason
    assert reason.isprintable()
    assert len(reason) < 200


def test_the_images_of_a_default_are_in_no_line_of_the_file(policy):
    decision = decide(policy(), ImageRequest("data"))
    assert (decision.allowed, decision.rule) == (False, Rule("image", "sample.yaml"))


def test_the_calculator_lets_a_session_choose_among_the_shipped_images():
    assert CALCULATOR.image == "core"
    assert CALCULATOR.images == ("core", "math", "web", "data")
    assert set(CALCULATOR.images) <= set(SHIPPED_IMAGES)
    assert not decide(CALCULATOR, ImageRequest("custom")).allowed


# Doubts


def test_a_name_close_to_a_shipped_one_is_doubted_with_its_place(policy):
    (doubt,) = doubts(policy("image: [core, dta]\n"))
    assert (doubt.file, doubt.line, doubt.column) == ("sample.yaml", 3, 1)
    assert str(doubt).splitlines()[0] == (
        "sample.yaml:3:1: image: `dta` does not come with Codecage; did you mean `data`?"
    )


@pytest.mark.parametrize("image", [*SHIPPED_IMAGES, "science", "core-sympy", "database"])
def test_shipped_images_and_names_unlike_them_are_not_doubted(policy, image):
    assert doubts(policy(f"cage: any\nimage: {image}\n")) == ()
