// The timeline: what happened, newest first, each entry with its evidence on demand.
import { element } from "./common.js";
import { N_, _, moment } from "./messages.js";

const at = (id) => document.getElementById(id);
const PAGE = 25;
const GOOD = ["promotion", "canary-taken-over", "alert-resolved", "promotions-released"];
const BAD = ["rollback", "canary-rolled-back", "alert-opened", "refusal", "promotions-held"];
// What an entry's badge and its last words may say; its sentence stays in English, as it was recorded.
const KINDS = [N_("promotion"), N_("rollback"), N_("refusal"), N_("refresh"), N_("validation"), N_("canary started"),
  N_("canary taken over"), N_("canary rolled back"), N_("canary ended"), N_("alert opened"), N_("alert resolved"),
  N_("promotions held"), N_("promotions released"), N_("days held"), N_("days released")];
const PARTS = [N_("endpoint"), N_("operator"), N_("monitoring"), N_("training"), N_("refresh")];
let entries = [];
let ask = null; // a request of the operator
let refused; // the key that is not the operator's

// Nested values → [["canary · rate", "0.104"], …]
function flat(value, path = []) {
  if (value === null || typeof value !== "object") return [[path.join(" · "), value === null ? "–" : String(value)]];
  if (Array.isArray(value) && value.every((one) => one === null || typeof one !== "object")) {
    return [[path.join(" · "), value.join(", ") || "–"]];
  }
  return Object.entries(value).flatMap(([key, one]) => flat(one, [...path, key.replaceAll("_", " ")]));
}

function shown(entry) {
  const facts = flat(entry.evidence);
  const tone = GOOD.includes(entry.kind) ? "good" : BAD.includes(entry.kind) ? "bad" : "";
  const line = [element("time", { datetime: entry.at }, moment(entry.at)),
    element("span", { class: "badge" }, _(entry.kind.replaceAll("-", " "))),
    element("span", { class: "what" }, `${entry.text} `, element("span", { class: "note" }, _("by the {part}", { part: _(entry.by) })))];
  return element("li", { class: tone, "data-id": entry.id }, element("details", {},
    element("summary", {}, ...line),
    facts.length ? element("dl", {}, ...facts.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]))
      : element("p", { class: "note" }, _("No further evidence."))));
}

function note(text, needsKey = false) {
  at("timeline-note").textContent = text;
  at("enter-key").hidden = !needsKey;
}

at("enter-key").addEventListener("click", () => {
  at("key").hidden = false;
  at("api-key").focus();
});

export async function showTimeline(operate) {
  ask = operate;
  const key = sessionStorage.getItem("key");
  if (key === refused) return;
  let found;
  try {
    found = (await ask(`/operator/timeline?limit=${PAGE}`)).entries;
  } catch (error) {
    if (error.status === 403) refused = key;
    note(error.status === 403 ? _("The timeline needs the operator key.") : error.message, error.status === 403);
    return;
  }
  note(found.length ? "" : _("Nothing has happened yet."));
  const known = new Set(entries.map((one) => one.id));
  const fresh = found.filter((one) => !known.has(one.id));
  if (!fresh.length) return; // what is open stays open
  if (fresh.length === found.length) { // the first time, or more happened than one page
    at("timeline").replaceChildren();
    entries = [];
    at("older-row").hidden = found.length < PAGE;
  }
  entries = [...fresh, ...entries];
  at("timeline").prepend(...fresh.map(shown));
}

at("older").addEventListener("click", async () => {
  try {
    const more = (await ask(`/operator/timeline?limit=${PAGE}&before=${entries.at(-1).id}`)).entries;
    entries = [...entries, ...more];
    at("timeline").append(...more.map(shown));
    at("older-row").hidden = more.length < PAGE;
  } catch (error) {
    note(error.message);
  }
});
