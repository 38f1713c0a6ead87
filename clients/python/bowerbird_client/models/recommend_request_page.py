from enum import StrEnum


class RecommendRequestPage(StrEnum):
    BASKET = "basket"
    HOME = "home"
    PRODUCT = "product"

    def __str__(self) -> str:
        return str(self.value)
