"""The tables, as SQLAlchemy models. States: docs/states.md. Reason codes: docs/reason-codes.md.

Ids come from the application (uuid7, so they sort by time). There are no triggers and no database sequences.
"""

from platform_relay.core.models.base import Base
from platform_relay.core.models.coupons import Coupon, IssuanceLimit, RewardRule
from platform_relay.core.models.operations import (
    Alert,
    ApiKey,
    Audit,
    ConsoleSession,
    DatabaseHistory,
    Difference,
    ImportChunk,
    ImportRun,
    ImportUpload,
    PollCursor,
    Reconciliation,
    RefusedRequest,
    SetupRecord,
    SignInLink,
    Trial,
)
from platform_relay.core.models.queue import (
    FIRST_EMAIL,
    JOB_STATES,
    KEY_DIGEST,
    Attempt,
    DedupeDigest,
    Destination,
    Entity,
    HistoryCount,
    HistoryExport,
    Job,
    Lane,
    Message,
)

__all__ = [
    "FIRST_EMAIL",
    "JOB_STATES",
    "KEY_DIGEST",
    "Alert",
    "ApiKey",
    "Attempt",
    "Audit",
    "Base",
    "ConsoleSession",
    "Coupon",
    "DatabaseHistory",
    "DedupeDigest",
    "Destination",
    "Difference",
    "Entity",
    "HistoryCount",
    "HistoryExport",
    "ImportChunk",
    "ImportRun",
    "ImportUpload",
    "IssuanceLimit",
    "Job",
    "Lane",
    "Message",
    "PollCursor",
    "Reconciliation",
    "RefusedRequest",
    "RewardRule",
    "SetupRecord",
    "SignInLink",
    "Trial",
]
