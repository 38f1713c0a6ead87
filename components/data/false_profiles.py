"""False profiles in feedback: made-up customers who lift a product (shilling attacks).

In: rows of interactions that passed all other checks. Out: the feedback rows of false profiles,
each with the reason. ``validate`` puts them into quarantine.

A profile is *new* in a window if only feedback without the shop's key names it, and its first event
is not FAMILIAR_DAYS older or it was active on fewer than ACTIVE_DAYS days before; the others are
*familiar*. All false profiles of an attack, whatever else they buy (random, average, bandwagon,
segment, probe: Mobasher et al., ACM TOIT 2007), share their target. Hence two steps, as in target
item analysis (Zhou et al., PLoS ONE 2015):

1. *Products*: in each week, four and eight weeks, how often the new profiles have a product,
   against its share among the familiar ones. The excess is judged by the tail of a negative
   binomial distribution, with the dispersion that the other products show. What is improbable is
   calibrated on the shop's own history, where new customers differ from familiar ones, too: in no
   ordinary window may a product be found.
2. *Profiles*: of a found product's new profiles as many are quarantined as exceed the usual number,
   those first that are most unlike ordinary profiles by their ``FEATURES``: a forest (extremely
   randomised trees, Geurts et al. 2006; scikit-learn's) tells the found products' new profiles from
   the other new ones, because new profiles as such differ from customers. So an honest customer of
   an attacked product is rarely taken, and of an attack that is found hardly more profiles remain
   than usual.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd
import pyarrow as pa
import scipy.sparse as sp
from scipy.stats import nbinom
from sklearn.decomposition import TruncatedSVD
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.preprocessing import normalize

from components.arrays import BoolArray, DoubleArray, Int32Array, Int64Array, IntArray
from components.data.schema import NONE, SHOP

FALSE_PROFILE = "false profile"
"""Beginning of the reasons for quarantine."""
DAY = 86_400
FAMILIAR_DAYS = 56
"""A profile may be familiar in a window if its first event lies so long before."""
ACTIVE_DAYS = 3
"""... and it was active on so many days before: age alone costs an attacker nothing."""
SPANS = (7, 28, 56)
"""Days of the windows in which products are judged, counted back from the newest day."""
PROFILE_DAYS = 28
"""Days from a profile's first event in which its features are measured."""
PRIOR = 50.0
"""Weight of a product's share in the whole history, in pairs of familiar profiles and products."""
MIN_PROFILES = 5
"""Fewest new profiles that lift a product."""
MARGIN = 1.5
"""Factor on the most improbable product of ordinary windows."""
FALSE_ALARM = 0.001
"""Largest probability that a product of a window without an attack is found."""
ROUNDS = 5
"""How often products are judged again without the profiles that were found before."""
FOREST_ROWS, MIN_ORDINARY = 1000, 200
"""Ordinary profiles that a forest is shown, at most, and that it needs."""
TREES, MIN_LEAF, FOLDS = 50, 3, 5
"""Of the forests: trees, least of a leaf, parts of the cross-validation."""
MIN_CERTAINTY = 0.6
"""A profile that is hardly more typical of a product's new profiles than of ordinary ones stays."""
FACTORS, FACTOR_ROWS = 16, 100_000
"""Singular vectors of the customers' purchases, and customers that they are computed from."""

FEATURES = {
    "items": "number of products",
    "repeats": "events of a product",
    "hourly": "events in an hour",
    "days": "active days",
    "popularity": "popularity of its products",
    "spread": "mix of popular and rare products",
    "co_rating": "products that customers do not buy together",
    "client": "profiles of its client",
}
"""Features of a profile, as named in a reason. Counts are logarithms. ``co_rating``: the share of
the profile's vector of products outside of the first singular vectors of the customers' (PCA: Mehta
and Nejdl, UMUAI 2009)."""


DISPERSIONS = tuple(np.round(np.concatenate([[0.0], np.geomspace(0.01, 30, 36)]), 4).tolist())
"""Variances of the products' rates that are tried."""
CHI_SQUARED_MEDIAN = 0.455
"""Median of the squared residuals if they have variance 1."""


@dataclass(frozen=True)
class Events:
    """Events with dense codes, in any order.

    users, items: int32 (n,). times: int64 (n,) seconds since 1970. vouched: bool (n,), of the
    shop's files or sent with its key. clients: int32 (n,), -1 where unknown.
    """

    users: Int32Array
    items: Int32Array
    times: Int64Array
    vouched: BoolArray
    clients: Int32Array
    n_users: int
    n_items: int

    def where(self, mask: BoolArray) -> Events:
        """Return the events where ``mask`` (bool (n,)) is true; the codes stay."""
        names = ("users", "items", "times", "vouched", "clients")
        return replace(self, **{name: getattr(self, name)[mask] for name in names})

    def first_times(self) -> Int64Array:
        """Return int64 (n_users,): the time of each user's first event."""
        first = np.full(self.n_users, np.iinfo(np.int64).max)
        np.minimum.at(first, self.users, self.times)
        return first

    def familiar_from(self) -> Int64Array:
        """Return int64 (n_users,), see the function ``familiar_from``."""
        return familiar_from(self.users, self.times, self.n_users)

    def vouched_users(self) -> BoolArray:
        """Return bool (n_users,): whether any event of the user is vouched for."""
        found = np.zeros(self.n_users, dtype=bool)
        found[self.users[self.vouched]] = True
        return found


@dataclass(frozen=True)
class FalseProfiles:
    """False profiles, int (n,) each.

    users: codes. items: the product that each lifts. together: how many lift it. signs: the most
    unusual of FEATURES, by its number.
    """

    users: IntArray
    items: IntArray
    together: IntArray
    signs: IntArray


NOTHING = FalseProfiles(*[np.empty(0, dtype=np.int64)] * 4)


def find_false_profiles(events: Events, seed: int = 0) -> FalseProfiles:
    """Return the false profiles among the users that only feedback without the shop's key names."""
    vouched = events.vouched_users()
    if vouched[events.users].all():
        return NOTHING
    first = events.first_times()
    familiar = np.where(vouched, np.iinfo(np.int64).min, events.familiar_from())
    judged = [_Judged.of(events, span, familiar) for span in SPANS]
    limit = _ordinary_limit(events, first, vouched)
    target = np.full(events.n_users, -1, dtype=np.int64)
    profiles: _Profiles | None = None
    for _ in range(ROUNDS):
        is_false = target >= 0
        lifted = [one for windows in judged for one in windows.without(is_false).lifted(limit)]
        if not lifted:
            break
        if profiles is None:
            suspects = np.unique(np.concatenate([one.users for one in lifted]))
            profiles = _Profiles.of(events, first, vouched, suspects, seed)
        members, products = np.unique(
            np.concatenate([one.users for one in lifted]), return_counts=True
        )
        certainty = profiles.certainty(members, products)
        for one in lifted:
            own = certainty[np.searchsorted(members, one.users)]
            order = np.argsort(-own, kind="stable")[: one.excess]
            false = one.users[order[own[order] > MIN_CERTAINTY]]
            target[false[target[false] < 0]] = one.item
    users = np.flatnonzero(target >= 0)
    if profiles is None or not len(users):
        return NOTHING
    items = target[users]
    together = np.bincount(items, minlength=events.n_items)[items]
    return FalseProfiles(users, items, together, profiles.signs(users))


@dataclass(frozen=True)
class _Lifted:
    """A product that new profiles lift in a window: their codes, and how many exceed the usual
    number."""

    item: int
    users: Int64Array
    excess: int


@dataclass(frozen=True)
class _Judged:
    """The distinct (window, user, item) of the windows of one span, and how products are judged.

    users: int (pairs,). cells: int (pairs,), the place of the pair's (window, item). new: bool
    (pairs,), whether the profile is new in the window; the others are familiar. windows, items: int
    (cells,). share: float (cells,), the item's share of all pairs of familiar profiles.
    """

    users: IntArray
    cells: IntArray
    new: BoolArray
    windows: IntArray
    items: IntArray
    share: DoubleArray
    n_items: int

    @classmethod
    def of(cls, events: Events, span: int, familiar: Int64Array) -> _Judged:
        """Return the windows as they are judged: new is a user until ``familiar`` (n_users,)."""
        start = window_starts(events.times, span)
        return cls._of(events, start, span, familiar[events.users] > start)

    @classmethod
    def ordinary(cls, events: Events, span: int, first: Int64Array) -> _Judged:
        """Return the ordinary windows: new is a profile whose first event lies in the window."""
        start = window_starts(events.times, span)
        known = start > first.min() + FAMILIAR_DAYS * DAY
        events, start = events.where(known), start[known]
        return cls._of(events, start, span, first[events.users] >= start)

    @classmethod
    def _of(cls, events: Events, start: Int64Array, span: int, new: BoolArray) -> _Judged:
        windows = (start - start.min(initial=start.max(initial=0))) // (span * DAY)
        cell = windows * events.n_items + events.items
        _, at = np.unique(cell * events.n_users + events.users, return_index=True)
        cells, place = np.unique(cell[at], return_inverse=True)
        familiar = np.bincount(events.items[at][~new[at]], minlength=events.n_items)
        share = (familiar + 0.5) / (familiar.sum() + 0.5 * events.n_items)
        window, item = np.divmod(cells, events.n_items)
        return cls(events.users[at], place, new[at], window, item, share[item], events.n_items)

    def without(self, users: BoolArray) -> _Judged:
        """Return the windows without some users, bool (n_users,)."""
        keep = ~users[self.users]
        return replace(self, users=self.users[keep], cells=self.cells[keep], new=self.new[keep])

    def improbability(self) -> tuple[DoubleArray, DoubleArray, DoubleArray]:
        """Return the new profiles of each cell, and what ``improbability`` does, (cells,) each."""
        n = len(self.windows)
        counts = np.bincount(self.cells[self.new], minlength=n).astype(np.float64)
        known = np.bincount(self.cells[~self.new], minlength=n)
        all_new, all_known = np.bincount(self.windows, counts), np.bincount(self.windows, known)
        window = self.windows
        return counts, *improbability(counts, known, self.share, all_new[window], all_known[window])

    def lifted(self, limit: float) -> Iterator[_Lifted]:
        """Yield the lifted products, the most improbable first: those of a window that are at least
        half as improbable as its first one. The others may be further products of the same
        profiles, which are judged again without these."""
        counts, usual, improbable = self.improbability()
        most = np.zeros(self.windows.max(initial=-1) + 1)
        np.maximum.at(most, self.windows, improbable)
        near = (improbable > limit) & (improbable >= most[self.windows] / 2)
        chosen = np.flatnonzero(near & (counts > usual))
        for cell in chosen[np.argsort(-improbable[chosen], kind="stable")].tolist():
            members = self.users[(self.cells == cell) & self.new].astype(np.int64)
            yield _Lifted(int(self.items[cell]), members, len(members) - int(usual[cell]))


def familiar_from(users: Int32Array, times: Int64Array, n_users: int) -> Int64Array:
    """Return int64 (n_users,): the time from which a user is familiar for whom nobody vouches:
    FAMILIAR_DAYS after the first event and after ACTIVE_DAYS days with an event; never without.

    users, times: (n,) events in any order.

    >>> users, days = np.array([0, 0, 0, 1, 1, 1], np.int32), np.array([0, 1, 90, 5, 6, 7])
    >>> (familiar_from(users, days * DAY, 2) // DAY).tolist()
    [91, 61]
    """
    day = times // DAY
    size = int(day.max(initial=0)) + 1
    users, day = np.divmod(np.unique(users.astype(np.int64) * size + day), size)
    found = np.full(n_users, np.iinfo(np.int64).max)
    begins = np.searchsorted(users, np.arange(n_users))
    often = np.flatnonzero(np.bincount(users, minlength=n_users) >= ACTIVE_DAYS)
    first, enough = day[begins[often]], day[begins[often] + ACTIVE_DAYS - 1] + 1
    found[often] = np.maximum(first + FAMILIAR_DAYS, enough) * DAY
    return found


def window_starts(times: Int64Array, span: int) -> Int64Array:
    """Return int64 (n,): the starts of the windows of ``span`` days, seconds since 1970. The last
    one ends with the newest day."""
    end = (times.max(initial=0) // DAY + 1) * DAY
    found: Int64Array = end - (end - 1 - times) // (span * DAY) * span * DAY - span * DAY
    return found


def improbability(
    counts: DoubleArray,
    known: IntArray,
    prior: DoubleArray,
    all_new: DoubleArray | IntArray,
    all_known: IntArray,
) -> tuple[DoubleArray, DoubleArray]:
    """Return how many new profiles usually have a product (the mean and a standard deviation), and
    −log10 of the probability of so many or more as have it, float (n,) each; 0 below MIN_PROFILES.

    counts, known: (n,) the new and the familiar profiles that have a product. prior: (n,) the
    product's usual share of all pairs of profiles and products. all_new, all_known: (n,) all pairs
    of new and of familiar profiles. The rate's posterior is a gamma distribution, so the count is
    negative binomial; its dispersion is at least that of all products together.
    """
    shape = known + PRIOR * prior
    expected = all_new * shape / (all_known + PRIOR)
    shape = 1 / (1 / shape + _dispersion(counts, expected, shape))
    found = np.zeros(len(counts))
    judged = counts >= MIN_PROFILES
    x, m, k = counts[judged], expected[judged], shape[judged]
    found[judged] = np.minimum(-nbinom.logsf(x - 1, k, k / (k + m)) / np.log(10), 300.0)
    return expected + np.sqrt(expected + expected**2 / shape), found


def _dispersion(counts: DoubleArray, expected: DoubleArray, shape: DoubleArray) -> float:
    """Return by how much the products' rates vary beyond chance: the variance of the ratio of
    counts and expected, by the median of the squared residuals, which an attack hardly moves."""
    often = expected >= 2
    if often.sum() < 20:
        return 0.0
    x, m, k = counts[often], expected[often], shape[often]
    for value in DISPERSIONS:
        if np.median((x - m) ** 2 / (m + m**2 * (1 / k + value))) <= CHI_SQUARED_MEDIAN:
            return value
    return DISPERSIONS[-1]


def _ordinary_limit(events: Events, first: Int64Array, vouched: BoolArray) -> float:
    """Return the improbability above which a product is lifted."""
    own = events.where(vouched[events.users])
    ordinary = [_Judged.ordinary(own, span, first).improbability()[2] for span in SPANS]
    most = max(float(one.max(initial=0.0)) for one in ordinary)
    return max(float(-np.log10(FALSE_ALARM / max(events.n_items, 1))), MARGIN * most)


@dataclass(frozen=True)
class _Profiles:
    """Profiles and how unusual they are.

    rows: int (n_users,), the row of a user's features, -1 without one. features: float (rows,
    FEATURES). ordinary: int (n,), rows of ordinary profiles.
    """

    rows: Int64Array
    features: DoubleArray
    ordinary: IntArray
    seed: int

    @classmethod
    def of(
        cls, events: Events, first: Int64Array, vouched: BoolArray, suspects: IntArray, seed: int
    ) -> _Profiles:
        """Return the profiles that may be false, with ordinary ones to compare them with."""
        rng = np.random.default_rng(seed)
        there = np.zeros(events.n_users, dtype=bool)
        there[events.users] = True
        known = np.flatnonzero(there & vouched)
        known = rng.permutation(known)[:FOREST_ROWS]
        users = np.union1d(known, np.flatnonzero(there & ~vouched))
        features = _features(events, users, first, vouched, rng)
        ordinary = ~np.isin(users, suspects)
        # Customers only where new profiles are few: among them each visitor would look unusual.
        new, known = (np.flatnonzero(ordinary & (vouched[users] == one)) for one in (False, True))
        sample = np.concatenate([rng.permutation(new), rng.permutation(known)])
        sample = sample[: max(len(new), MIN_ORDINARY)][:FOREST_ROWS]
        rows = np.full(events.n_users, -1, dtype=np.int64)
        rows[users] = np.arange(len(users))
        return cls(rows, features, sample, seed)

    def certainty(self, users: IntArray, products: IntArray) -> DoubleArray:
        """Return for some users, float (n,), how much more typical their features are of them
        than of ordinary profiles: the probability by a forest that has not seen the profile
        (cross-validation), at equal weights of both.

        products: int (n,), lifted products (and windows) that each has: a further feature, 1 for
        ordinary profiles.
        """
        both = np.concatenate([self.rows[users], self.ordinary])
        several = np.log(np.append(products, np.ones(len(self.ordinary))))
        features = np.column_stack([self.features[both], several])
        labels = np.arange(len(both)) < len(users)
        forest = ExtraTreesClassifier(
            TREES, min_samples_leaf=MIN_LEAF, class_weight="balanced", random_state=self.seed
        )
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=self.seed)
        found = cross_val_predict(forest, features, labels, cv=folds, method="predict_proba")
        certainty: DoubleArray = found[: len(users), 1]
        return certainty

    def signs(self, users: IntArray) -> IntArray:
        """Return the most unusual feature of each user, by its number."""
        low, middle, high = np.quantile(self.features[self.ordinary], (0.1, 0.5, 0.9), axis=0)
        distance = np.abs(self.features[self.rows[users]] - middle)
        found: IntArray = (distance / np.maximum(high - low, 0.1)).argmax(axis=1)
        return found


def _features(
    events: Events,
    users: IntArray,
    first: Int64Array,
    vouched: BoolArray,
    rng: np.random.Generator,
) -> DoubleArray:
    """Return float (users, FEATURES) of some users (int, ascending)."""
    row = np.full(events.n_users, -1, dtype=np.int64)
    row[users] = np.arange(len(users))
    n = len(users)

    shop = events.where(vouched[events.users])
    buyers = _matrix(shop.users, shop.items, (events.n_users, events.n_items))
    popularity = np.log1p(np.asarray(buyers.sum(axis=0)).ravel())

    early = events.times < first[events.users] + PROFILE_DAYS * DAY
    own = events.where((row[events.users] >= 0) & early)
    rows = row[own.users]
    products = _matrix(rows, own.items, (n, events.n_items))
    size = np.maximum(np.diff(products.indptr), 1)
    count = np.bincount(rows, minlength=n)
    mean = products @ popularity / size
    spread = np.sqrt(np.maximum(products @ popularity**2 / size - mean**2, 0))
    return np.column_stack(
        [
            np.log(size),
            np.log(count / size),
            np.log(count / np.maximum(_distinct(rows, own.times // 3600, n), 1)),
            np.log(np.maximum(_distinct(rows, own.times // DAY, n), 1)),
            mean,
            spread,
            _outside(products, buyers, rng),
            np.log(_profiles_of_client(own, rows, n)),
        ]
    )


def _matrix(rows: IntArray, columns: IntArray, shape: tuple[int, int]) -> sp.csr_matrix:
    """Return CSR with a 1 for every pair."""
    matrix = sp.csr_matrix((np.ones(len(rows), dtype=np.float32), (rows, columns)), shape=shape)
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix


def _distinct(rows: IntArray, values: IntArray, n: int) -> IntArray:
    """Return int (n,): the number of distinct values of each row."""
    low, high = int(values.min(initial=0)), int(values.max(initial=0))
    size = high - low + 1
    pairs = np.unique(rows.astype(np.int64) * size + (values - low))
    return np.bincount(pairs // size, minlength=n)


def _profiles_of_client(events: Events, rows: IntArray, n: int) -> IntArray:
    """Return int (n,): the profiles that a client of the row sent events of, at least 1."""
    sent = (events.clients >= 0) & ~events.vouched
    found = np.ones(n, dtype=np.int64)
    if sent.any():
        names = _distinct(events.clients[sent], rows[sent], int(events.clients.max()) + 1)
        np.maximum.at(found, rows[sent], names[events.clients[sent]])
    return found


def _outside(
    products: sp.csr_matrix, buyers: sp.csr_matrix, rng: np.random.Generator
) -> DoubleArray:
    """Return float (rows,): the share of each vector outside of the buyers' singular vectors."""
    several = np.flatnonzero(np.diff(buyers.indptr) > 1)
    factors = min(FACTORS, min(len(several), buyers.shape[1]) - 1)
    if factors < 1:
        return np.zeros(products.shape[0])
    chosen = normalize(buyers[rng.permutation(several)[:FACTOR_ROWS]])
    svd = TruncatedSVD(factors, random_state=0).fit(chosen)
    inside = np.square(svd.transform(normalize(products))).sum(axis=1)
    found: DoubleArray = 1 - inside
    return found


def false_profiles(rows: ir.Table, seed: int = 0) -> pa.Table:
    """Return (row, reason) of the feedback of false profiles.

    rows: interactions that passed all other checks, with their number as ``row``. Events without
    key and token are judged apart from others of the same user: anybody can name any user.
    """
    vouched = rows.authentication.isnull() | (rows.authentication == SHOP)
    if not rows.filter(~vouched).limit(1).count().execute():
        return pa.table({"row": pa.array([], pa.int64()), "reason": pa.array([], pa.string())})
    coded = rows.select(
        "row",
        vouched=vouched,
        user=_code([rows.user_id, rows.authentication.fill_null(SHOP) == NONE]),
        item=_code([rows.item_id]),
        time=rows.timestamp.epoch_seconds().cast("int64"),
        client=ibis.ifelse(rows.client.isnull(), -1, _code([rows.client])).cast("int32"),
    ).to_pyarrow()
    column = {name: coded[name].to_numpy() for name in coded.column_names}
    events = Events(
        column["user"],
        column["item"],
        column["time"],
        column["vouched"],
        column["client"],
        int(column["user"].max(initial=-1)) + 1,
        int(column["item"].max(initial=-1)) + 1,
    )
    found = find_false_profiles(events, seed)
    lifted, first = np.unique(column["item"], return_index=True)
    wanted = column["row"][first[np.isin(lifted, found.items)]]
    ids = rows.filter(rows.row.isin(wanted.tolist())).select("row", "item_id").execute()
    codes = pd.Series(column["item"], column["row"])[ids["row"]].to_numpy()
    return _reasons(column["row"], events, found, dict(zip(codes, ids["item_id"], strict=True)))


def _code(keys: list[ir.Value]) -> ir.Value:
    """Return the place of each row's key among the distinct ones, from 0."""
    return ibis.dense_rank().over(order_by=keys).cast("int32")


def _reasons(
    rows: Int64Array, events: Events, found: FalseProfiles, names: dict[int, str]
) -> pa.Table:
    """Return (row, reason) of the rows that are not vouched for of the profiles that were found."""
    place = np.full(events.n_users, -1, dtype=np.int64)
    place[found.users] = np.arange(len(found.users))
    mine = (place[events.users] >= 0) & ~events.vouched
    at = place[events.users[mine]]
    signs = np.array(list(FEATURES.values()), dtype=object)
    texts = [
        f"{FALSE_PROFILE}: one of {n} that lift the product {names[item]!r}; most unusual: {sign}"
        for item, n, sign in zip(found.items, found.together, signs[found.signs], strict=True)
    ]
    reasons = pa.array(texts, pa.string()).take(pa.array(at))
    return pa.table({"row": rows[mine], "reason": reasons})
