"""Reasons for tests to which it does not matter what exactly happened."""

from platform_relay.core.reasons import ReasonCode, because

PLATFORM = "the Platform"
HTTP_400 = because(ReasonCode.REJECTED_BY_DESTINATION, destination=PLATFORM, request="the order", status=400)
HTTP_401 = because(ReasonCode.KEY_REJECTED, destination=PLATFORM, status=401)
HTTP_403 = because(ReasonCode.PERMISSION_MISSING, destination=PLATFORM, status=403)
HTTP_429 = because(ReasonCode.RATE_LIMITED, destination=PLATFORM, status=429)
HTTP_500 = because(ReasonCode.SERVER_ERROR, destination=PLATFORM, request="the order", status=500)
HTTP_503 = because(ReasonCode.SERVER_ERROR, destination=PLATFORM, request="the order", status=503)
CONNECTION_LOST = because(ReasonCode.CONNECTION_LOST, destination=PLATFORM)
UNCHANGED = because(ReasonCode.UNCHANGED, destination=PLATFORM)
NO_VALUE = because(ReasonCode.NO_VALUE, rule="7")
WAITING_FOR_LANE = because(ReasonCode.WAITING_FOR_LANE, lane="customer:1")
SHUTDOWN = because(ReasonCode.SHUTDOWN)
NEWER = because(ReasonCode.NEWER_VERSION)
INTERNAL = because(ReasonCode.INTERNAL_ERROR, error="KeyError")
