// Merchandising rules: the table, a form with a preview, and what was changed by whom.
import { lines } from "./charts.js";
import { element, say } from "./common.js";
import { N_, _, moment, number, percent, titled } from "./messages.js";

const at = (id) => document.getElementById(id);
const ACTIONS = [N_("pin"), N_("boost"), N_("bury"), N_("exclude"), N_("cap"), N_("share"), N_("objective"), N_("exposure")];
// The fields of the form besides those that every rule has.
const FIELDS = { pin: ["items", "where", "position"], boost: ["items", "where", "weight"], bury: ["items", "where", "weight"],
  exclude: ["items", "where"], cap: ["where", "by", "most"], share: ["items", "where", "share"],
  objective: ["where", "by", "weight", "objective"], exposure: ["items", "where", "by", "at_least", "at_most"] };
const NUMBERS = ["position", "weight", "most", "share", "at_least", "at_most"];
const PERCENT = ["share", "at_least", "at_most"];
let ask = null; // a request of the operator
let rules = [];
let shares = []; // measured, of the exposure rules
let edited = null; // the rule in the form, null: a new one
let refused; // the key that is not the merchandiser's

const field = (name) => at(`rule-${name}`);
const listed = (text) => text.split(",").map((one) => one.trim()).filter(Boolean);
const asInput = (text) => (text ? new Date(text).toISOString().slice(0, 16) : "");

function showFields() {
  const shown = FIELDS[field("action").value];
  for (const row of at("rule").querySelectorAll("[data-for]")) row.hidden = !shown.includes(row.dataset.for);
  at("rule-by-name").textContent = field("action").value === "objective" ? _("Attribute to raise") : _("Of one");
  at("estimated").replaceChildren();
}

function ruleOf() {
  const action = field("action").value;
  const rule = { name: field("name").value.trim(), action, surfaces: listed(field("surfaces").value),
    priority: Number(field("priority").value || 0), enabled: field("enabled").checked };
  for (const name of FIELDS[action].filter((one) => one !== "objective")) {
    const text = field(name).value.trim();
    if (name === "items") rule.items = listed(text);
    else if (text) rule[name] = NUMBERS.includes(name) ? Number(text) : text;
  }
  for (const name of PERCENT) if (rule[name]) rule[name] /= 100;
  if (field("segment").value.trim()) rule.segment = field("segment").value.trim();
  for (const name of ["starts", "ends"]) if (field(name).value) rule[name] = `${field(name).value}Z`;
  return rule;
}

function edit(entry) {
  edited = entry;
  const rule = entry?.rule || { action: "boost", enabled: true, items: [], surfaces: [] };
  at("rule").reset();
  field("id").value = entry?.rule_id || "";
  field("id").readOnly = Boolean(entry);
  for (const name of ["name", "action", "where", "position", "weight", "by", "most", "segment", "priority"]) {
    if (rule[name] !== null && rule[name] !== undefined) field(name).value = rule[name];
  }
  field("items").value = (rule.items || []).join(", ");
  field("surfaces").value = (rule.surfaces || []).join(", ");
  for (const name of PERCENT) field(name).value = rule[name] ? Math.round(1000 * rule[name]) / 10 : "";
  field("starts").value = asInput(rule.starts);
  field("ends").value = asInput(rule.ends);
  field("enabled").checked = rule.enabled !== false;
  at("rule-part").open = true;
  showFields();
  at("preview").replaceChildren();
  (entry ? field("name") : field("id")).focus();
}

// What a rule does, in one line.
function meaning(rule) {
  const about = [rule.items?.join(", "), rule.where].filter(Boolean).join(" · ");
  const how = { pin: () => _("at place {n}", { n: rule.position }), boost: () => `+${number(rule.weight)}`, bury: () => `−${number(rule.weight)}`,
    cap: () => _("at most {n} of one {attribute}", { n: rule.most, attribute: rule.by }), share: () => _("at least {share}", { share: percent(rule.share, 0) }),
    exclude: () => "", objective: () => `${rule.by} × ${number(rule.weight)}`, exposure: () => bounds(rule) }[rule.action]();
  return [how, about].filter(Boolean).join(": ");
}

// The bounds of an exposure.
function bounds(rule) {
  return [rule.at_least && _("at least {share} of the exposure", { share: percent(rule.at_least, 1) }),
    rule.at_most && _("at most {share} of the exposure", { share: percent(rule.at_most, 1) }), rule.by && _("of one {attribute}", { attribute: rule.by })].filter(Boolean).join(", ");
}

// What was measured of a rule's shares: the largest three.
function measured({ rule, revision }) {
  if (rule?.action !== "exposure") return [];
  return shares.filter((one) => one.revision === revision).slice(0, 3).map((one) => {
    const outside = (rule.at_least && one.recent < rule.at_least) || (rule.at_most && one.recent > rule.at_most);
    return element("div", { class: outside ? "bad" : "note" }, [one.group, _("now {share}, of {lists} lists {all}", { share: percent(one.recent, 1), lists: number(one.lists),
      all: percent(one.share, 1) }), one.offset ? _("moved by {offset}", { offset: number(one.offset) }) : null].filter(Boolean).join(" · "));
  });
}

function scope(rule) {
  return [rule.surfaces?.length ? rule.surfaces.join(", ") : _("everywhere"), rule.segment,
    rule.starts && _("from {time}", { time: moment(rule.starts) }), rule.ends && _("until {time}", { time: moment(rule.ends) })].filter(Boolean).join(" · ");
}

function state({ rule, problem }) {
  if (problem) return element("strong", { class: "bad" }, problem);
  if (!rule.enabled) return element("span", { class: "note" }, _("off"));
  const now = Date.now();
  if (rule.starts && Date.parse(rule.starts) > now) return element("span", { class: "note" }, _("later"));
  if (rule.ends && Date.parse(rule.ends) <= now) return element("span", { class: "note" }, _("over"));
  return element("strong", { class: "good" }, _("in force"));
}

function row(entry) {
  const rule = entry.rule || { name: entry.rule_id, items: [], surfaces: [] };
  return element("tr", {}, element("td", {}, element("strong", {}, rule.name), element("div", { class: "note" }, entry.rule_id)),
    element("td", {}, rule.action ? element("span", { class: "badge" }, _(rule.action)) : null, " ", rule.action ? meaning(rule) : ""),
    element("td", {}, rule.action ? scope(rule) : ""), element("td", {}, state(entry), ...measured(entry)),
    element("td", { class: "number" }, element("button", { type: "button", "aria-label": _("Change {name}", { name: rule.name }), onclick: () => edit(entry) }, _("Change")), " ",
      element("button", { type: "button", "aria-label": _("Delete {name}", { name: rule.name }), onclick: () => remove(entry) }, _("Delete"))));
}

async function act(what) {
  try {
    await what();
    await showRules(ask);
  } catch (error) {
    say(at("rules-note"), error.message, true);
  }
}

function remove(entry) {
  at("delete-text").textContent = _("Delete the rule {name}? The list of changes keeps it.", { name: entry.rule?.name || entry.rule_id });
  at("delete").returnValue = "no";
  at("delete").onclose = () => at("delete").returnValue === "yes" && act(async () => {
    const who = encodeURIComponent(field("author").value.trim());
    await ask(`/merchandising/rules/${entry.rule_id}?version=${entry.version}&author=${who}`, undefined, "DELETE");
    say(at("rules-note"), _("deleted: {name}", { name: entry.rule_id }));
  });
  at("delete").showModal();
}

at("rule").addEventListener("submit", (event) => {
  event.preventDefault();
  act(async () => {
    const body = { rule: ruleOf(), author: field("author").value.trim(), note: field("note").value.trim(), version: edited?.version ?? 0 };
    const saved = await ask(`/merchandising/rules/${field("id").value.trim()}`, body, "PUT");
    say(at("rules-note"), _("saved: {name}, version {version}", { name: saved.rule_id, version: saved.version }));
    edited = saved;
    field("id").readOnly = true;
  });
});
field("action").addEventListener("change", showFields);
at("new-rule").addEventListener("click", () => edit(null));

function shelf(title, items, others) {
  const before = new Set(others.map((item) => item.item_id));
  return element("div", {}, element("h4", {}, title), element("ol", {}, ...items.map((item) => element("li", { class: before.has(item.item_id) ? null : "changed" },
    titled(item.title), " ", element("span", { class: "note" }, [item.item_id, item.reason].filter(Boolean).join(" · "))))));
}

at("try").addEventListener("click", () => act(async () => {
  const named = listed(at("preview-users").value);
  const shoppers = named.length ? named.map((one) => ({ user_id: one })) : [{}];
  const surface = at("preview-surface").value.trim() || "home";
  const { previews } = await ask("/merchandising/preview", { drafts: { [field("id").value.trim() || "draft"]: ruleOf() }, shoppers, surface, k: 10 });
  at("preview").replaceChildren(...previews.flatMap((one, i) => [element("h3", {}, named[i] || _("a guest")),
    element("div", { class: "compared" }, shelf(_("Before"), one.before, one.after), shelf(_("After"), one.after, one.before))]));
}));

const fixed = (value, digits) => number(value, { minimumFractionDigits: digits, maximumFractionDigits: digits });
const signed = (value, digits) => `${value < 0 ? "−" : "+"}${fixed(Math.abs(value), digits)}`;
const interval = (one, digits) => (one ? `${signed(one.value, digits)} (${signed(one.low, digits)} … ${signed(one.high, digits)})` : "–");

// What each weight of an objective costs and brings: a table and two curves.
function estimates({ attribute, rows, shoppers, lists, reason }) {
  const heads = [_("Weight"), "NDCG", _("change in NDCG"), _("mean {attribute} shown", { attribute }), _("gain in {attribute} a list", { attribute }), _("change in purchases a list")];
  const cells = rows.map((one, row) => [number(one.weight), one.ndcg === null ? "–" : fixed(one.ndcg, 4), interval(one.ndcg_change, 4),
    one.shown === null ? "–" : fixed(one.shown, 2), row ? interval(one.value.gain, 3) : "–", row ? interval(one.purchases.gain, 4) : "–"]);
  const why = [reason && _("No NDCG: {reason}", { reason }), ...new Set(rows.slice(1).filter((one) => !one.value.gain).map((one) => _("No gain estimated: {reason}", { reason: one.value.reason })))];
  const labels = rows.map((one) => number(one.weight));
  const curve = (title, values) => (values.some((value) => value === null) ? null
    : element("div", {}, element("h4", {}, title), lines(title, [values], labels, (value) => number(value))));
  return [element("table", {}, element("thead", {}, element("tr", {}, ...heads.map((one) => element("th", {}, one)))),
    element("tbody", {}, ...cells.map((row) => element("tr", {}, ...row.map((one) => element("td", { class: "number" }, one)))))),
  element("p", { class: "note" }, _("{shoppers} shoppers with purchases since the training, {lists} logged lists; 95 % intervals.", { shoppers: number(shoppers), lists: number(lists) })),
  ...why.filter(Boolean).map((one) => element("p", { class: "note" }, one)),
  element("div", { class: "compared" }, curve("NDCG", rows.map((one) => one.ndcg)), curve(heads[3], rows.map((one) => one.shown)))];
}

at("estimate").addEventListener("click", () => act(async () => {
  say(at("rules-note"), _("Estimating …"));
  const surface = at("preview-surface").value.trim() || "home";
  const weights = listed(at("estimate-weights").value).map(Number);
  const found = await ask("/merchandising/estimate", { drafts: { [field("id").value.trim() || "draft"]: ruleOf() }, weights, surface, k: 10 });
  at("estimated").replaceChildren(...estimates(found));
  say(at("rules-note"), "");
}));

function change(one) {
  const what = one.rule ? `${_(one.rule.action)} ${meaning(one.rule)}` : _("deleted");
  return element("li", {}, element("span", {}, element("time", { datetime: one.changed_at }, moment(one.changed_at)), " ",
    element("strong", {}, `${one.rule_id} (${one.version})`), ` ${what} `,
    element("span", { class: "note" }, [one.author || _(one.role), one.note].filter(Boolean).join(": "))));
}

export async function showRules(operate) {
  ask = operate;
  const key = sessionStorage.getItem("key");
  if (key === refused) return;
  let changes;
  try {
    const found = await ask("/merchandising/rules");
    rules = found.rules;
    at("rule-numbers").replaceChildren(...found.numbers.map((one) => element("option", { value: one })));
    ({ changes } = await ask("/merchandising/changes?limit=20"));
    shares = rules.some((one) => one.rule?.action === "exposure") ? (await ask("/merchandising/exposure")).shares : [];
  } catch (error) {
    if (error.status === 403) refused = key;
    at("rules-card").classList.toggle("locked", error.status === 403);
    at("rules-key").hidden = error.status !== 403;
    say(at("rules-note"), error.status === 403 ? _("Rules need the merchandiser or operator key.") : error.message, error.status !== 403);
    return;
  }
  if (!at("rules-key").hidden) say(at("rules-note"), "");
  at("rules-key").hidden = true;
  at("rules-card").classList.remove("locked");
  const shown = JSON.stringify([rules, changes, shares]);
  if (at("rules").dataset.shown === shown) return; // a button that has the focus stays
  at("rules").dataset.shown = shown;
  at("rules").replaceChildren(...rules.map(row));
  at("rules-table").hidden = !rules.length;
  at("rule-changes").replaceChildren(...changes.map(change));
}

at("rules-key").addEventListener("click", () => {
  at("key").hidden = false;
  at("api-key").focus();
});
field("action").replaceChildren(...ACTIONS.map((one) => element("option", { value: one }, _(one))));
field("action").value = "boost";
showFields();
