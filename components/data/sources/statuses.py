"""The shop's words for the state of an order, or of its line → whether the purchase stands."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

from components.data.schema import CANCELLED, RETURNED
from components.data.sources.cells import Cells
from components.settings import Source

KEPT = "kept"

WORDS = {
    KEPT: (
        "kept paid partiallypaid partiallyrefunded partiallyreturned partiallyfulfilled partial "
        "authorized authorised approved confirmed accepted pending pendingpayment paymentreview "
        "processing onhold holded hold open new created invoiced fulfilled unfulfilled shipped "
        "dispatched sent intransit outfordelivery readyforpickup pickedup delivered received "
        "complete completed finished success successful succeeded active bezahlt versendet "
        "versandt geliefert zugestellt abgeschlossen offen payé payée expédié livré terminé "
        "pagado enviado entregado completado pagato spedito consegnato betaald verzonden "
        "geleverd voltooid afgerond entregue enviada pago concluído zrealizowane wysłane opłacone "
        "dostarczone levererad skickad betald leveret levert sendt doručeno odesláno "
        "teslimedildi tamamlandı доставлен выполнен оплачен 完了 発送済み 已完成 已付款 已发货 "
        "交易成功 待发货 已签收 买家已付款 卖家已发货 発送待ち 配送済み 処理済み"
    ),
    CANCELLED: (
        "cancelled canceled cancel cancellation cancelation void voided failed declined rejected "
        "expired abandoned trash draft checkoutdraft storniert storno annulliert abgebrochen "
        "annulé annulée annullato annullata cancelado cancelada anulado anulada geannuleerd "
        "anulowane anulowany avbruten makulerad annulleret kansellert zrušeno iptaledildi "
        "отменён отменен キャンセル 已取消 交易关闭 已关闭"
    ),
    RETURNED: (
        "returned return returns refunded refund refunds fullyrefunded chargeback chargedback "
        "reversed retour retoure retouren retourniert zurückgesendet erstattet remboursé "
        "remboursée retourné rimborsato reso devuelto devuelta reembolsado reembolsada "
        "geretourneerd terugbetaald devolvido devolución devoluciones gutschrift gutschriften "
        "rücksendung rücksendungen creditnote creditmemo avoir avoirs rimborso resi zwrócone "
        "zwrot zwroty returnerad återbetald returneret refundert vráceno iadeedildi возвращён "
        "возвращен возврат 返品 返金 已退款 已退货"
    ),
}
"""Common words by state, in small letters, without spaces and signs."""


def statuses(cells: Cells, source: Source) -> ir.StringValue:
    """Return KEPT, CANCELLED or RETURNED; null where there is no value or its word is unknown."""
    given = {word.strip().lower(): status for word, status in source.statuses.items()}
    word = cells.text.lower()
    plain = word.re_replace(r"^wc[-_]", "").re_replace(r"[\s_\-.:/]+", "")
    branches: list[tuple[ir.BooleanValue, str]] = [
        (word == ibis.literal(name), status) for name, status in given.items()
    ]
    branches += [(plain.isin(words.split()), status) for status, words in WORDS.items()]
    return ibis.cases(*branches, else_=ibis.null("string"))
