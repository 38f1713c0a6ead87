from enum import StrEnum


class ValuesFacetType(StrEnum):
    CATEGORY = "category"
    SET = "set"

    def __str__(self) -> str:
        return str(self.value)
