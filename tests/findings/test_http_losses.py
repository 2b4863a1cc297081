"""What is said of HTTP that could not be read without a break."""

from captool.direction import Direction, Moment
from captool.findings.http_losses import http_incomplete
from captool.http.losses import HttpLosses, Loss, UnpairedResponse
from tables import START, attach, connection, tables

TO_SERVER, TO_CLIENT = Direction.TO_SERVER, Direction.TO_CLIENT
HOLE = Loss(TO_CLIENT, Moment(42, START), 1448, None, Moment(44, START), "turn")
REFUSED = Loss(TO_SERVER, Moment(50, START), None, "illegal header line", None, "never")


def found(*losses, unpaired=(), exchanges=()):
    told = HttpLosses(losses, len(losses), unpaired, len(unpaired))
    return list(http_incomplete(tables(connection(losses=told, exchanges=exchanges))))


def test_nothing_missing_is_no_finding():
    assert [] == list(http_incomplete(tables(connection())))


def test_a_hole_says_whose_bytes_are_missing_and_where_reading_went_on():
    (finding,) = found(HOLE, exchanges=(attach(response_hole=True, uncertain=True),))
    assert ("http-incomplete", "info", (42,)) == (finding.code, finding.severity, finding.packets)
    assert finding.message == (
        "The capture lacks 1.4 kB of what the server said, before packet 42; reading went on in packet 44, by what begins like a message when it "
        "was that side's turn. Not complete: 1 exchange (POST /containers/ab12/attach). 1 exchange found by what it looks like is not certain."
    )
    assert {"places": 1, "missing_bytes": 1448, "not_found_again": 0, "unpaired_responses": 0, "uncertain_exchanges": 1} == finding.evidence


def test_what_was_not_found_again_is_a_warning():
    for loss in (HOLE._replace(resumed=None, found="never"), HOLE._replace(behind=None, missing=None, resumed=None, found="never")):
        (finding,) = found(loss)
        assert "warning" == finding.severity
        assert "no message was found behind that" in finding.message
    assert "The capture lacks bytes of what the server said, before the end" in finding.message


def test_bytes_that_are_no_http_are_told_with_a_way_to_look_at_them():
    (finding,) = found(REFUSED)
    assert finding.message.startswith("From packet 50 on the client's bytes are no HTTP that can be read (illegal header line); no message was")
    assert ("warning", True) == (finding.severity, "captool follow --connection 0 --raw to_server" in finding.remedy)


def test_responses_that_answer_nobody_knows_what_are_a_warning():
    (finding,) = found(HOLE, unpaired=(UnpairedResponse(204, Moment(60, START)),))
    assert "warning" == finding.severity
    assert "1 response (the first a 204 in packet 60) cannot be said to answer any one request" in finding.message


def test_many_places_are_counted():
    (finding,) = found(*[HOLE] * 6)
    assert "So it is in 2 more places." in finding.message
