"""A reason's text is made from its code and facts."""

from platform_relay.core.reasons import ReasonCode, because


def test_a_reason_in_a_reason_is_shown_as_its_text() -> None:
    cause = because(ReasonCode.TIMED_OUT, destination="the store", seconds=15)
    reason = because(ReasonCode.LAUNCHER_UNAVAILABLE, problem=cause.as_fact())
    assert reason.facts["problem"] == {"code": "timed_out", "facts": {"destination": "the store", "seconds": 15}}
    assert reason.text == (
        "The Platform's Launcher could not be read: The store did not send a complete response within 15 seconds."
    )
