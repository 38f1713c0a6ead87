from enum import StrEnum


class RangeFacetType(StrEnum):
    DATE = "date"
    NUMBER = "number"

    def __str__(self) -> str:
        return str(self.value)
