from enum import StrEnum


class ConversationStateLevelType0(StrEnum):
    CHEAP = "cheap"
    DEAR = "dear"

    def __str__(self) -> str:
        return str(self.value)
