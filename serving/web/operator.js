// The operator's page: the model in service, traffic, the newest drift verdict, what happened.
import { api, element, say } from "./common.js";
import { bars, lines } from "./charts.js";
import { N_, _, clock, locale, moment, ngettext, number, percent, short } from "./messages.js";
import { showRules } from "./rules.js";
import { showTimeline } from "./timeline.js";

const at = (id) => document.getElementById(id);
const EVERY = 5000;
const KEPT = 120;
const ROUTE = "/recommend";
let past = [];
let before = null;
const READ = 15000;
let wanted = null;
let canaryShare = 0; // of the shoppers that a promoted version serves first
let heldUntil = 0;
let pageToken = null; // where no key is set, what only this page can read

function pairs(where, entries) {
  where.replaceChildren(...entries.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
}

const bound = (seconds) => (seconds === Infinity ? _("over 5 s") : `${seconds * 1000} ms`);
const between = (low, high) => _("{low} to {high}", { low, high });
const orDash = (value, text) => (value === null || value === undefined ? "–" : text(value));
// Kinds of events and of alerts, and verdicts on experiments, as the endpoint names them.
const NAMES = [N_("view"), N_("click"), N_("cart"), N_("purchase"), N_("rating"), N_("dislike"), N_("drift"), N_("broken"),
  N_("attack"), N_("canary"), N_("model"), N_("refresh"), N_("flow"), N_("see the log"), N_("not decided: let it run"),
  N_("treatment is better"), N_("control is better")];

// Prometheus' text → [{ name, labels, value }]
function samples(text) {
  return text.split("\n").filter((line) => line && !line.startsWith("#")).map((line) => {
    const [, name, inside, value] = line.match(/^([a-zA-Z_:]+)(?:\{(.*)\})? (\S+)$/) || [];
    const labels = {};
    for (const [, key, label] of (inside || "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) labels[key] = label;
    return { name, labels, value: value === "+Inf" ? Infinity : Number(value) };
  });
}

// Route → { count, failed, buckets: upper edge in seconds → requests within }
function routes(series) {
  const found = new Map();
  for (const { name, labels, value } of series) {
    if (!name || !name.startsWith("bowerbird_request_seconds")) continue;
    const route = found.get(labels.route) || { count: 0, failed: 0, buckets: new Map() };
    if (name.endsWith("_count")) {
      route.count += value;
      if (Number(labels.status) >= 400) route.failed += value;
    } else if (name.endsWith("_bucket")) {
      const edge = labels.le === "+Inf" ? Infinity : Number(labels.le);
      route.buckets.set(edge, (route.buckets.get(edge) || 0) + value);
    }
    found.set(labels.route, route);
  }
  return found;
}

const edges = (buckets) => [...buckets].sort(([a], [b]) => a - b);
const within = (route, share) => edges(route.buckets).find(([, count]) => count >= share * route.count)?.[0] ?? Infinity;

function latency(found) {
  return [...found].filter(([name]) => name !== "other").sort(([, a], [, b]) => b.count - a.count).map(([name, route]) => element("tr", {},
    element("td", {}, name || _("pages' files")),
    ...[number(route.count), number(route.failed), bound(within(route, 0.5)), bound(within(route, 0.99))]
      .map((text) => element("td", { class: "number" }, text))));
}

// A quantile of the latency between two readings in milliseconds, interpolated within a bucket.
function quantile(now, then, share) {
  const counts = edges(now.buckets).map(([edge, count]) => [edge, count - (then?.buckets.get(edge) || 0)]);
  const all = now.count - (then?.count || 0);
  if (all <= 0) return null;
  let [low, under] = [0, 0];
  for (const [edge, count] of counts) {
    if (count >= share * all) return 1000 * (edge === Infinity ? low : low + (edge - low) * (share * all - under) / Math.max(count - under, 1));
    [low, under] = [edge, count];
  }
  return 1000 * low;
}

function overTime(found) {
  const now = found.get(ROUTE) || { count: 0, buckets: new Map() };
  if (before) past = [...past, { at: new Date(), half: quantile(now, before, 0.5), most: quantile(now, before, 0.99) }].slice(-KEPT);
  before = now;
  const shown = past.some((one) => one.half !== null);
  at("latency-chart").replaceChildren(shown
    ? lines(_("Latency of recommend in milliseconds"), [past.map((one) => one.half), past.map((one) => one.most)],
      past.map((one) => clock(one.at)), (value) => `${short(value)} ms`)
    : element("p", { class: "note" }, _("No recommendation was asked for while this page was open.")));
}

function activity(hours) {
  const labels = hours.map((hour) => clock(new Date(hour.start * 1000)));
  const shown = hours.map((hour) => hour.impressions);
  const done = hours.map((hour) => Object.values(hour.events).reduce((sum, count) => sum + count, 0));
  at("traffic-chart").replaceChildren(bars(_("Lists shown and events, by hour"), [shown, done], labels, short));
  const rates = hours.map((hour) => (hour.impressions ? 100 * hour.followed / hour.impressions : null));
  at("outcome-chart").replaceChildren(rates.some((rate) => rate !== null)
    ? lines(_("Events that followed from a list, per hundred lists shown, by hour"), [rates], labels, short)
    : element("p", { class: "note" }, _("No list was shown in the last 24 hours.")));
}

function total(series, name, label) {
  const found = new Map();
  for (const sample of series.filter((one) => one.name === name)) {
    const key = label ? sample.labels[label] : "";
    found.set(key, (found.get(key) || 0) + sample.value);
  }
  return found;
}

function drift(verdict, reports) {
  const where = at("drift");
  if (!verdict) {
    where.replaceChildren(element("p", { class: "note" }, _("No report yet: bowerbird monitor writes one.")));
    return;
  }
  const alarms = { broken: _("Broken data: these days are held"), attack: _("Signs of an attack: promotions are held") };
  const state = alarms[verdict.kind] ? ["bad", alarms[verdict.kind]]
    : !verdict.enough ? ["note", _("Not enough traffic to judge")]
    : verdict.drifted ? ["bad", _("Drift")] : ["good", _("No drift")];
  const seen = { n: number(verdict.rows), start: moment(verdict.start), end: moment(verdict.end) };
  where.replaceChildren(
    element("p", {}, element("strong", { class: state[0] }, state[1]),
      " ", ngettext("in {n} event from {start} to {end}.", "in {n} events from {start} to {end}.", verdict.rows, seen), " ",
      element("a", { href: `${reports}${verdict.page}` }, _("Open the report"))),
    element("ul", {}, ...(verdict.reasons || []).map((reason) => element("li", {}, reason))));
}

function quality(tables, reports) {
  at("quality").replaceChildren(...Object.entries(tables || {}).map(([name, table]) => element("tr", {},
    element("td", {}, name),
    ...[table.rows, table.kept, table.quarantined].map((count) => element("td", { class: "number" }, number(count))),
    element("td", {}, Object.entries(table.reasons || {}).map(([why, count]) => `${why}: ${number(count)}`).join(", ")))));
  at("docs").replaceChildren(tables
    ? element("a", { href: `${reports}data_docs/index.html` }, _("Open the data docs"))
    : _("No validation report yet: make run writes one."));
}

function versions(found) {
  at("versions-card").hidden = !found.length;
  at("versions").replaceChildren(...found.map((one) => {
    const champion = (one.aliases || []).includes("champion");
    return element("tr", {},
      element("td", {}, one.version),
      element("td", {}, ...(one.aliases || []).map((alias) => element("span", { class: "badge" }, alias)),
        ...(one.refreshed_from ? [" ", _("refreshed from {version}", { version: one.refreshed_from })] : [])),
      element("td", { class: "number" }, orDash(one.ndcg, (ndcg) => number(ndcg, { minimumFractionDigits: 4, maximumFractionDigits: 4 }))),
      element("td", {}, one.created ? moment(one.created) : "–"),
      element("td", { class: "number" }, champion ? null : element("button", {
        type: "button", onclick: () => confirmed(canaryShare
          ? _("Promote version {version} to champion? It first serves {share} of the shoppers.", { version: one.version, share: percent(canaryShare, 0) })
          : _("Promote version {version} to champion? All traffic moves to it in seconds.", { version: one.version }),
          "/operator/promote", { version: String(one.version) }),
      }, _("Promote"))));
  }));
}

// The result of an action stays long enough to be read.
function hold(text, isError = false) {
  heldUntil = Date.now() + READ;
  say(at("message"), text, isError);
}

function confirmed(question, path, body) {
  wanted = { path, body };
  at("confirm-text").textContent = question;
  at("confirm").returnValue = "no";
  at("confirm").showModal();
}

// A request of the operator. Where no key is set it needs the page's token, which expires.
async function operate(path, body, method) {
  pageToken ??= (await api("/operator/token")).token ?? "";
  try {
    return await api(path, body, method, pageToken ? { "X-CSRF-Token": pageToken } : {});
  } catch (error) {
    pageToken = null;
    throw error;
  }
}

at("confirm").addEventListener("close", async () => {
  if (at("confirm").returnValue !== "yes" || !wanted) return;
  const key = at("operator-key").value;
  const kept = sessionStorage.getItem("key");
  try {
    hold(_("working on it …"));
    if (key) sessionStorage.setItem("key", key);
    let job = await operate(wanted.path, wanted.body || {}, "POST");
    while (job.state === "queued" || job.state === "running") {
      const { command } = job;
      hold(job.state === "queued" ? _("working on it: {command} is queued …", { command }) : _("working on it: {command} is running …", { command }));
      await new Promise((wake) => setTimeout(wake, 1000));
      job = await api(`/operator/jobs/${job.id}`);
    }
    await refresh();
    if (job.state === "failed") throw new Error(_("{command} failed: {error}", { command: job.command, error: job.error }));
    hold(_("done: {command}", { command: job.command }));
  } catch (error) {
    if (key && kept) sessionStorage.setItem("key", kept);
    else if (key) sessionStorage.removeItem("key");
    hold(error.message, true);
  }
});
const reasonIn = (id) => (at(id).value.trim() ? { reason: at(id).value.trim() } : {});
const range = (one) => (one.first === one.last ? one.first : between(one.first, one.last));
at("pause").addEventListener("submit", (event) => {
  event.preventDefault();
  confirmed(_("Pause promotions? No training and no refresh changes the champion until you allow it again."),
    "/operator/promotions/hold", reasonIn("pause-reason"));
});
at("resume").addEventListener("click", () => confirmed(_("Allow promotions again?"), "/operator/promotions/release"));
at("days").addEventListener("submit", (event) => {
  event.preventDefault();
  const days = { first: at("days-first").value, last: at("days-last").value };
  confirmed(_("Learn nothing from {days}? The next training leaves these days out.", { days: range(days) }),
    "/operator/days/hold", { ...days, ...reasonIn("days-reason") });
});
at("days-first").addEventListener("change", () => {
  at("days-last").min = at("days-first").value;
  if (at("days-last").value < at("days-first").value) at("days-last").value = at("days-first").value;
});

function alerts(open) {
  at("alerts").replaceChildren(open.length ? element("ul", { class: "rows" }, ...open.map((one) => element("li", {},
    element("span", {}, element("strong", { class: "bad" }, `${_(one.kind)}: ${one.subject}`), ` ${one.reason} `,
      element("span", { class: "note" }, one.count > 1
        ? ngettext("since {time}, {n} time", "since {time}, {n} times", one.count, { time: moment(one.opened), n: number(one.count) })
        : _("since {time}", { time: moment(one.opened) }))))))
    : element("p", { class: "good" }, _("None.")));
}

function holds(found) {
  const paused = found.promotions;
  at("pause-state").replaceChildren(paused ? element("strong", { class: "bad" }, _("Promotions are paused"))
    : element("strong", { class: "good" }, _("Promotions are allowed")),
  ...(paused ? [" ", _("since {time}: {reason}.", { time: moment(paused.since), reason: paused.reason })]
    : [_(": a better model becomes the champion by itself.")]));
  for (const field of at("pause").querySelectorAll("label, button")) field.hidden = Boolean(paused);
  at("resume-row").hidden = !paused;
  const shown = JSON.stringify([found.days, found.note]);
  if (at("held").dataset.shown === shown) return; // a button that has the focus stays
  at("held").dataset.shown = shown;
  at("held").replaceChildren(...(found.note ? [element("li", { class: "error" }, found.note)] : []), ...found.days.map((one) => element("li", {},
    element("span", {}, element("strong", {}, range(one)), ` ${one.reason} `, element("span", { class: "note" }, _("by the {part}", { part: _(one.by) }))),
    element("button", { type: "button", "aria-label": _("Learn from {days} after all", { days: range(one) }),
      onclick: () => confirmed(_("Learn from {days} after all? The monitoring will not hold these days again.", { days: range(one) }),
        "/operator/days/release", { first: one.first, last: one.last }) }, _("Release")))));
}

at("rollback").addEventListener("click", () => confirmed(_("Go back to the champion before this one?"), "/operator/rollback"));

const seconds = (value) => (value === null ? "–" : `${short(1000 * value)} ms`);
const rate = (group) => (group.rate === null ? "–" : percent(group.rate, 2));

function table(heads, rows) {
  const cell = (tag) => (text, i) => element(tag, { class: i > 1 ? "number" : null }, text);
  return element("table", {}, element("thead", {}, element("tr", {}, ...heads.map(cell("th")))),
    element("tbody", {}, ...rows.map((row) => element("tr", {}, ...row.map(cell("td"))))));
}

function canary(state) {
  at("canary-card").hidden = !state || !(state.version || state.decisions.length);
  if (!state) return;
  at("serve-all").hidden = !state.version;
  at("serve-all").onclick = () => confirmed(_("Serve version {version} to all shoppers now?", { version: state.version }),
    "/operator/promote", { version: String(state.version), now: true });
  const seen = state.evidence;
  const group = (name, version, of) => [name, version, ...[number(of.users), number(of.converted), rate(of),
    number(of.lists), number(of.failed), seconds(of.p95_seconds)]];
  at("canary").replaceChildren(...(state.version ? [
    element("p", {}, element("strong", {}, _("Version {version}", { version: state.version })), " ",
      _("serves {share} of the shoppers since {time}, version {stable} the others.", {
        share: percent(state.share, 0), time: moment(state.started), stable: state.stable })),
    ...(seen ? [table([_("Group"), _("Model"), _("Shoppers"), _("Converted"), _("Rate"), _("Lists"), _("Failed"), _("95 % within")],
      [group(_("canary"), state.version, seen.canary), group(_("the others"), state.stable, seen.control)]),
    element("p", { class: "note" }, _("Difference {difference}, always-valid interval {low} to {high}. It takes over or is rolled back by itself.", {
      difference: percent(seen.outcome.difference, 2), low: percent(seen.outcome.low), high: percent(seen.outcome.high) }))] : [])]
    : [element("p", {}, _("No canary runs: version {version} serves all shoppers.", { version: state.stable }))]));
  at("decisions").replaceChildren(...(state.decisions.length ? [element("h3", {}, _("Earlier canaries")),
    element("ul", {}, ...state.decisions.slice(0, 5).map((one) => element("li", {},
      element("span", { class: one.result === "rolled back" ? "bad" : "good" }, outcome(one)),
      `: ${one.reason}`)))] : []));
}

function outcome({ version, decided, result }) {
  const values = { version, time: moment(1000 * decided) };
  if (result === "rolled back") return _("{time}: version {version} was rolled back", values);
  return result === "taken over" ? _("{time}: version {version} was taken over", values) : _("{time}: version {version} was ended", values);
}

function shadow(found) {
  at("shadow-card").hidden = !found;
  if (found) pairs(at("shadow"), [[_("version"), found.version], [_("lists made, not shown"), number(found.made)],
    [_("dropped while busy"), number(found.dropped)], [_("failed"), number(found.failed)],
    [_("products in common with the list shown"), found.overlap === null ? "–" : percent(found.overlap, 0)],
    [_("{share} of its lists within", { share: percent(0.95, 0) }), seconds(found.p95_seconds.challenger)],
    [_("{share} of the lists shown within", { share: percent(0.95, 0) }), seconds(found.p95_seconds.served)]]);
}

function uplift(found) {
  at("uplift-card").hidden = !found;
  if (!found) return;
  const shown = (name, gain, text) => [name, gain.enough ? "" : _("too few buyers yet"), text(gain.popular), text(gain.recommended),
    gain.enough ? text(gain.difference) : "–", gain.enough ? between(text(gain.low), text(gain.high)) : "–",
    gain.enough && gain.popular > 0 ? `${gain.difference > 0 ? "+" : ""}${percent(gain.difference / gain.popular, 0)}` : "–"];
  const rows = [...(found.conversion ? [shown(_("Conversion"), found.conversion, (value) => percent(value, 2))] : []),
    ...(found.revenue ? [shown(_("Revenue a visitor"), found.revenue, (value) => short(value))] : [])];
  at("uplift").replaceChildren(
    ...(rows.length ? [table([_("Of a visitor"), "", _("Popular products"), _("Recommendations"), _("Difference"),
      _("{share} interval", { share: percent(1 - found.alpha, 0) }), _("Relative")], rows)] : []),
    element("p", { class: "note" }, _("{popular} visitors got popular products, {recommended} recommendations, as of {time}. The difference is adjusted by what visitors did before (CUPED); the interval is valid however often you look.", {
      popular: number(found.visitors.popular), recommended: number(found.visitors.recommended), time: moment(1000 * found.at) })));
}

function gained(found) {
  const gain = found?.conversion;
  if (!gain?.enough || !(gain.popular > 0)) return "–";
  if (gain.low <= 0 && gain.high >= 0) return _("not clear yet");
  return `${gain.difference > 0 ? "+" : ""}${percent(gain.difference / gain.popular, 0)}`;
}

function experiments(found) {
  at("experiments-card").hidden = !found.length;
  at("experiments").replaceChildren(...found.flatMap((one) => [
    element("p", {}, element("strong", {}, one.name), " ", ...(one.running ? [] : [_("(ended)"), " "]),
      element("span", { class: one.called ? "badge" : "note" }, _(one.verdict))),
    element("table", {}, element("thead", {}, element("tr", {}, ...[_("Arm"), _("Models"), _("Shoppers"), one.outcome.map((event) => _(event)).join(", "), _("Rate"), _("{share} interval", { share: percent(0.95, 0) })]
      .map((name, i) => element("th", { class: i > 1 ? "number" : null }, name)))),
    element("tbody", {}, ...one.arms.map((arm) => element("tr", {},
      element("td", {}, arm.arm), element("td", {}, arm.model_versions.join(", ") || "–"),
      ...[number(arm.users), number(arm.converted), arm.rate === null ? "–" : percent(arm.rate, 2), between(percent(arm.low), percent(arm.high))]
        .map((text) => element("td", { class: "number" }, text)))))),
    element("p", { class: "note" }, _("Difference {difference}, always-valid interval {low} to {high}: you may look as often as you like.", {
      difference: percent(one.difference, 2), low: percent(one.low), high: percent(one.high) }))]));
}

async function refresh() {
  showRules(operate); // says itself what is wrong, and needs no other key
  try {
    const [text, status, model, tests] = await Promise.all(
      ["/metrics", "/status", "/model", "/experiments"].map((path) => api(path)));
    const series = samples(text);
    const found = routes(series);
    const sources = total(series, "bowerbird_recommendations_total", "source");
    const all = [...sources.values()].reduce((sum, value) => sum + value, 0);
    const share = (value) => (all ? percent(value / all) : "–");
    const cold = total(series, "bowerbird_cold_recommendations_total").get("") || 0;
    const events = Object.values(status.events_today).reduce((sum, count) => sum + count, 0);
    const asked = found.get(ROUTE);
    at("tiles").replaceChildren(...[[_("Lists shown today"), short(status.impressions_today)], [_("Events today"), short(events)],
      [_("Half of answers within"), asked ? bound(within(asked, 0.5)) : "–"], [_("99 % within"), asked ? bound(within(asked, 0.99)) : "–"],
      [_("To the unknown (cold)"), share(cold)], [_("Uplift in conversion"), gained(tests.uplift)],
      [_("Model"), status.canary?.version ? _("{version}, canary {canary}", { version: model.version, canary: status.canary.version }) : model.version]]
      .map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", { class: value.length > 8 ? "long" : null }, value))));
    pairs(at("model"), [[_("version"), model.version], [_("products"), number(model.items)],
      [_("users it knows"), number(model.users)], [_("candidates"), model.candidates.join(", ")],
      [_("trained until"), moment(model.trained_until)], [_("in service since"), moment(model.loaded_at)],
      ...(model.last_load_error ? [[_("newest champion"), _(model.last_load_error)]] : []),
      ...Object.entries(status.problems)]);
    pairs(at("traffic"), [[_("recommendations shown"), number(status.impressions_today)],
      ...Object.entries(status.events_today).map(([event, count]) => [_(event), number(count)]),
      ...(status.unknown_item_events ? [[_("events of unknown products"), `${number(status.unknown_item_events)}: ${
        status.unknown_items.map((one) => `${one.item_id} (${number(one.events)})`).join(", ")}`]] : []),
      ...status.surfaces.map((one) => [one.surface, _("{shown} lists, {followed} led to an event, {bought} to a purchase", {
        shown: number(one.impressions), followed: number(one.followed), bought: number(one.bought) })]),
      [_("events waiting"), number(status.events_pending)],
      ...(status.impressions_dropped ? [[_("shown, not logged"), number(status.impressions_dropped)]] : []),
      ...[status.store.problem, status.store.note].filter(Boolean).map((text) => [_("event store"), text])]);
    pairs(at("recommendations"), [[_("since the start"), number(all)],
      ...[...sources].map(([name, count]) => [_("led by {source}", { source: name }), share(count)]),
      [_("to the unknown (cold)"), share(cold)],
      ...[...total(series, "bowerbird_conversation_total", "kind")].map(([kind, count]) => [
        kind === "question" ? _("conversation: questions") : _("conversation: answers"), number(count)])]);
    overTime(found);
    activity(status.activity);
    canaryShare = status.canary?.share || 0;
    versions(status.versions);
    canary(status.canary);
    shadow(status.shadow);
    uplift(tests.uplift);
    experiments(tests.experiments);
    at("latency").replaceChildren(...latency(found));
    alerts(status.alerts);
    holds(status.holds);
    drift(status.drift, `.${status.reports}`);
    showTimeline(operate); // says itself what is wrong
    quality(status.validation, `.${status.reports}`);
    if (Date.now() > heldUntil) say(at("message"), _("as of {time}", { time: new Date().toLocaleTimeString(locale) }));
  } catch (error) {
    at("key").hidden = error.status !== 401;
    say(at("message"), error.message, true);
  }
}

at("key").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("key", at("api-key").value);
  at("key").hidden = true;
  refresh();
});
refresh();
setInterval(() => { if (!document.hidden) refresh(); }, EVERY);
