from enum import StrEnum


class RuleAction(StrEnum):
    BOOST = "boost"
    BURY = "bury"
    CAP = "cap"
    EXCLUDE = "exclude"
    EXPOSURE = "exposure"
    OBJECTIVE = "objective"
    PIN = "pin"
    SHARE = "share"

    def __str__(self) -> str:
        return str(self.value)
