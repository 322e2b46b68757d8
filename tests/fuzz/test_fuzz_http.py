import asyncio

import pytest

from tests.fuzz import fuzz_http


def test_broken_requests_and_answers_break_no_promise():
    """
    A short run of the fuzzer; it has to reach the server and the guest to mean anything.
    """
    ran, judged, answered = asyncio.run(fuzz_http.run(1, count=800))
    assert ran == 800
    assert judged > 200
    assert answered > 100


def test_the_fuzzer_sees_a_secret_that_slips_through():
    judge = fuzz_http.Judging(asked=[("GET", "/", None)])
    with pytest.raises(fuzz_http.Wrong, match="secret"):
        fuzz_http.check_guest_side(b"HTTP/1.1 200 OK\r\nX: " + fuzz_http.SECRET, judge)


def test_the_fuzzer_sees_a_request_that_nobody_judged():
    request = (
        b"GET /other HTTP/1.1\r\nHost: api.example.com\r\nX-Api-Key: "
        + fuzz_http.SECRET
        + b"\r\n\r\n"
    )
    judge = fuzz_http.Judging(asked=[("GET", "/", None)])
    with pytest.raises(fuzz_http.Wrong, match="judged were"):
        fuzz_http.check_server_side(request, judge, ended=True)


def test_the_fuzzer_sees_bytes_that_answer_nothing():
    with pytest.raises(fuzz_http.Wrong, match="no answer"):
        fuzz_http.check_guest_side(b"HTTP/1.1 200 OK\r\n\r\n", fuzz_http.Judging())
