"""The settings of a destination that the next step of a failed call names."""

from dataclasses import dataclass
from typing import Final

from platform_relay.core.reasons import Reason, ReasonCode

ABOUT_ADDRESS: Final = frozenset(
    {
        ReasonCode.ADDRESS_INVALID,
        ReasonCode.CERTIFICATE_WRONG_HOST,
        ReasonCode.EGRESS_DENIED,
        ReasonCode.REDIRECTED,
        ReasonCode.TLS_FAILED,
        ReasonCode.TLS_NOT_OFFERED,
        ReasonCode.TLS_REQUIRED,
        ReasonCode.WRONG_ADDRESS,
    }
)
"""The codes whose next step is to correct the configured address."""


@dataclass(frozen=True, slots=True)
class SettingNames:
    """The variables of a destination, for the next steps of failed calls. `ca_file` None: there is none."""

    address: str
    ca_file: str | None = None

    def named(self, reason: Reason) -> Reason:
        """The reason, with the setting that corrects it, unless it names one."""
        if "setting" in reason.facts:
            return reason
        if reason.code is ReasonCode.CERTIFICATE_UNTRUSTED:
            return reason.also(setting=self.ca_file)
        return reason.also(setting=self.address) if reason.code in ABOUT_ADDRESS else reason
