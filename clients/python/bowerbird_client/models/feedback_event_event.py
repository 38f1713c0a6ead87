from enum import StrEnum


class FeedbackEventEvent(StrEnum):
    CART = "cart"
    CLICK = "click"
    DISLIKE = "dislike"
    HIDE = "hide"
    PURCHASE = "purchase"
    RATING = "rating"
    VIEW = "view"

    def __str__(self) -> str:
        return str(self.value)
