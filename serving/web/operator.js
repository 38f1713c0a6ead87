// The operator's page: which model serves, what traffic it sees, what the watch last said.
import { api, element, say } from "/web/common.js";

const at = (id) => document.getElementById(id);
const EVERY = 5000;

function pairs(where, entries) {
  where.replaceChildren(...entries.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
}

const number = (value) => Number(value).toLocaleString();
const moment = (text) => new Date(text).toLocaleString();
const bound = (seconds) => (seconds === Infinity ? "over 5 s" : `${seconds * 1000} ms`);

// Prometheus' text → [{ name, labels, value }]
function samples(text) {
  return text.split("\n").filter((line) => line && !line.startsWith("#")).map((line) => {
    const [, name, inside, value] = line.match(/^([a-zA-Z_:]+)(?:\{(.*)\})? (\S+)$/) || [];
    const labels = {};
    for (const [, key, label] of (inside || "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) labels[key] = label;
    return { name, labels, value: value === "+Inf" ? Infinity : Number(value) };
  });
}

function latency(series) {
  const routes = new Map();
  for (const { name, labels, value } of series) {
    if (!name || !name.startsWith("bowerbird_request_seconds")) continue;
    const route = routes.get(labels.route) || { count: 0, failed: 0, buckets: new Map() };
    if (name.endsWith("_count")) {
      route.count += value;
      if (Number(labels.status) >= 400) route.failed += value;
    } else if (name.endsWith("_bucket")) {
      const edge = labels.le === "+Inf" ? Infinity : Number(labels.le);
      route.buckets.set(edge, (route.buckets.get(edge) || 0) + value);
    }
    routes.set(labels.route, route);
  }
  const within = (route, share) => bound([...route.buckets].sort(([a], [b]) => a - b)
    .find(([, count]) => count >= share * route.count)?.[0] ?? Infinity);
  return [...routes].sort(([, a], [, b]) => b.count - a.count).map(([name, route]) => element("tr", {},
    element("td", {}, name),
    ...[number(route.count), number(route.failed), within(route, 0.5), within(route, 0.99)]
      .map((text) => element("td", { class: "number" }, text))));
}

function total(series, name, label) {
  const found = new Map();
  for (const sample of series.filter((one) => one.name === name)) {
    const key = label ? sample.labels[label] : "";
    found.set(key, (found.get(key) || 0) + sample.value);
  }
  return found;
}

function drift(verdict, alerts) {
  const where = at("drift");
  if (!verdict) {
    where.replaceChildren(element("p", { class: "note" }, "No report yet: bowerbird monitor writes one."));
    return;
  }
  const state = !verdict.enough ? ["note", "Not enough traffic to judge"]
    : verdict.drifted ? ["bad", "Drift"] : ["good", "No drift"];
  where.replaceChildren(
    element("p", {}, element("strong", { class: state[0] }, state[1]),
      ` in ${number(verdict.rows)} events from ${moment(verdict.start)} to ${moment(verdict.end)}. `,
      element("a", { href: `/reports/${verdict.page}` }, "Open the report")),
    element("ul", {}, ...(verdict.reasons || []).map((reason) => element("li", {}, reason))),
    element("p", { class: "note" }, `${alerts.length} recent alerts`));
}

function quality(tables) {
  at("quality").replaceChildren(...Object.entries(tables || {}).map(([name, table]) => element("tr", {},
    element("td", {}, name),
    ...[table.rows, table.kept, table.quarantined].map((count) => element("td", { class: "number" }, number(count))),
    element("td", {}, Object.entries(table.reasons || {}).map(([why, count]) => `${why}: ${number(count)}`).join(", ")))));
  at("docs").replaceChildren(tables
    ? element("a", { href: "/reports/data_docs/index.html" }, "Open the data docs")
    : "No validation report yet: make run writes one.");
}

async function refresh() {
  try {
    const [text, status] = await Promise.all([api("/metrics"), api("/status")]);
    const series = samples(text);
    const model = await api("/model");
    pairs(at("model"), [["version", model.version], ["products", number(model.items)],
      ["users it knows", number(model.users)], ["candidates", model.candidates.join(", ")],
      ["trained until", moment(model.trained_until)], ["in service since", moment(model.loaded_at)],
      ...(model.last_load_error ? [["newest champion", model.last_load_error]] : [])]);
    pairs(at("traffic"), [["recommendations shown", number(status.impressions_today)],
      ...Object.entries(status.events_today).map(([event, count]) => [event, number(count)]),
      ["events waiting", number(status.events_pending)]]);
    const sources = total(series, "bowerbird_recommendations_total", "source");
    const all = [...sources.values()].reduce((sum, value) => sum + value, 0);
    const share = (value) => (all ? `${(100 * value / all).toFixed(1)} %` : "–");
    pairs(at("recommendations"), [["since the start", number(all)],
      ...[...sources].map(([name, count]) => [`led by ${name}`, share(count)]),
      ["to the unknown (cold)", share(total(series, "bowerbird_cold_recommendations_total").get("") || 0)]]);
    at("latency").replaceChildren(...latency(series));
    drift(status.drift, status.alerts);
    quality(status.validation);
    say(at("message"), `as of ${new Date().toLocaleTimeString()}`);
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
