// The shopper's page: a conversation, a shelf that changes with each click, search, similar items.
import { api, element, say, stream, visitor } from "./common.js";
import { _, calm, money, ngettext, titled } from "./messages.js";
import { Facets, facts } from "./facets.js";
import { tile, webAddress } from "./tile.js";

const at = (id) => document.getElementById(id);
const PAGE = 12;
const TOAST = 5000;
const MOST_IN_BASKET = 10;
let shown = new Set();
let basket = [];
let looked = false;
let offset = 0;
let talk = null;
let hush = 0;

const named = (item) => titled(item.title) || item.item_id;

// The user of the form, if any: a visitor is identified by the token sent with each request.
function who() {
  const user = sessionStorage.getItem("user");
  return user ? { user_id: user } : {};
}

// Have a signed session of this tab while no user is named; again: the server no longer knows it.
async function begin(again = false) {
  visitor.token = null;
  if (sessionStorage.getItem("user")) return;
  if (again || Number(sessionStorage.getItem("until")) < Date.now() / 1000 + 60) {
    const { token, session_id, expires_at } = await api("/session", {});
    sessionStorage.setItem("token", token);
    sessionStorage.setItem("session", session_id);
    sessionStorage.setItem("until", expires_at);
  }
  visitor.token = sessionStorage.getItem("token");
}

// What this tab's session did becomes the user's; with an API key set only the key may say so.
async function signIn(user) {
  const session = sessionStorage.getItem("session");
  if (!session) return;
  try {
    await api("/session", { user_id: user, session_id: session });
  } catch (error) {
    if (error.status === 401) return;
    throw error;
  }
  for (const name of ["session", "token", "until"]) sessionStorage.removeItem(name);
}

function toast(text, isError = false) {
  say(at("message"), text, isError);
  clearTimeout(hush);
  if (!isError) hush = setTimeout(() => say(at("message"), ""), TOAST);
}

// impression: the id of the list it was shown in, null where none was logged
function card(item, isNew, impression) {
  const act = (event) => () => send(item, event, impression);
  const name = named(item);
  return element("li", { class: isNew ? "new" : null, "data-new": isNew ? _("New") : null, "data-item": item.item_id },
    tile(item),
    element("span", { class: "title" }, webAddress(item.url)
      ? element("a", { href: item.url, rel: "noopener noreferrer" }, name) : name),
    element("span", { class: "meta" }, element("span", { class: "price" }, money(item.price, item.currency)),
      item.categories.length ? ` · ${item.categories.join(" › ")}` : ""),
    facts(item),
    item.reason ? element("span", { class: "reason" }, calm(item.reason)) : null,
    element("span", { class: "row" },
      element("button", { type: "button", class: "look", "aria-label": _("Look at {name}", { name }), onclick: act("click") }, _("Look")),
      element("button", { type: "button", class: "buy", "aria-label": _("Buy {name}", { name }), onclick: act("purchase") }, _("Buy")),
      element("button", { type: "button", class: "hide", title: _("Not for me"), "aria-label": _("Do not show {name} again", { name }), onclick: act("hide") }, "×")));
}

async function guarded(work) {
  try {
    await work();
  } catch (error) {
    at("key").hidden = error.status !== 401;
    toast(error.message, true);
  }
}

async function shelf() {
  const user = sessionStorage.getItem("user");
  await begin();
  if (user) await signIn(user);
  const body = () => ({ ...who(), k: 8, attributes: facets.filters() });
  let answer = await api("/recommend", body());
  if (!user && !answer.identified) {
    await begin(true);
    answer = await api("/recommend", body());
  }
  at("key").hidden = !user || answer.identified;
  const before = shown;
  shown = new Set(answer.items.map((item) => item.item_id));
  const isNew = (item) => before.size > 0 && !before.has(item.item_id);
  const changed = answer.items.filter(isNew).length;
  at("shelf").replaceChildren(...answer.items.map((item) => card(item, isNew(item), answer.impression_id)));
  const count = answer.history_length;
  const known = user && !answer.identified ? _("As for a visitor: the shop's key opens what is known of a user")
    : count ? ngettext("From one thing you did", "From {n} things you did", count) : _("Nothing is known of you yet: what is popular");
  const news = ngettext("{n} new on the shelf", "{n} new on the shelf", changed);
  at("shelf-note").textContent = answer.items.length
    ? (changed ? _("{first}; {second}", { first: known, second: news }) : known)
    : _("No product meets all the filters");
  at("shelf-note").title = _("model {version}", { version: answer.model_version });
  return changed;
}

// The surfaces that have something for this shopper, in the order of their rank.
function surfaces(product) {
  const near = product ? { page_items: [product.item_id] } : null;
  return [
    near && { surface: "bought_together", k: 4, ...near },
    near && { surface: "goes_with", k: 4, ...near },
    basket.length ? { surface: "basket", k: 4, page_items: basket } : null,
    basket.length || sessionStorage.getItem("user") ? { surface: "buy_again", k: 4 } : null,
    looked ? { surface: "recently_viewed", k: 4 } : null,
    { surface: "trending", k: 4 },
    { surface: "new_for_you", k: 4 },
  ].filter(Boolean).map((one) => ({ ...one, attributes: facets.filters() }));
}

// Further shelves in one request, so that none repeats another. product: what was just looked at.
async function shelves(product = null) {
  const answer = await api("/page", { ...who(), shelves: surfaces(product) });
  // Surfaces without products of their own have the same title, maybe that of the list above: one of
  // them is enough.
  const titles = [at("shelf-title").textContent, ...answer.shelves.map((one) => (one.items.length ? one.title : null))];
  const shown = answer.shelves.filter((one, n) => titles[n + 1] && titles.indexOf(titles[n + 1]) === n + 1);
  at("shelves").replaceChildren(...shown.map((one) =>
    element("section", { "data-surface": one.surface, "aria-label": one.title },
      element("div", { class: "head" }, element("h2", {}, one.title)),
      element("ul", { class: "items" }, ...one.items.map((item) => card(item, false, one.impression_id))))));
}

function send(item, event, impression) {
  return guarded(async () => {
    await begin();
    await api("/feedback", {
      ...who(), item_id: item.item_id, event, price: item.price, impression_id: impression,
      event_id: crypto.randomUUID ? crypto.randomUUID() : `${Date.now()}-${Math.random()}`,
    });
    const isBought = event === "purchase";
    const name = named(item);
    const done = { purchase: _("bought {name}", { name }), click: _("looked at {name}", { name }), hide: _("hid {name}", { name }) };
    at("trail").prepend(element("li", {}, done[event]));
    at("trail-empty").hidden = true;
    if (event === "hide") {
      await shelf();
      toast(_("{name} is not shown to you again, and things like it less.", { name }));
      return;
    }
    if (isBought) basket = [...new Set([...basket, item.item_id])].slice(-MOST_IN_BASKET);
    else looked = true;
    const [changed] = await Promise.all([shelf(), goesWith(item), shelves(item)]);
    if (isBought) {
      toast(changed ? ngettext("You bought {name}: {n} new on your shelf.", "You bought {name}: {n} new on your shelf.", changed, { name })
        : _("You bought {name}: kept.", { name }));
    } else {
      toast(changed ? ngettext("You looked at {name}: {n} new on your shelf.", "You looked at {name}: {n} new on your shelf.", changed, { name })
        : _("You looked at {name}: kept.", { name }));
    }
  });
}

async function goesWith(item) {
  const answer = await api("/similar", { item_ids: [item.item_id], k: 4, attributes: facets.filters() });
  at("similar-title").textContent = _("Similar to {name}", { name: named(item) });
  at("similar").replaceChildren(...answer.items.map((other) => card(other, false, null)));
  at("similar-part").hidden = answer.items.length === 0;
}

// The fields of the search form that products are filtered by.
function limits() {
  const found = {};
  if (at("category").value) found.category = at("category").value;
  if (at("max-price").value) found.max_price = Number(at("max-price").value);
  return found;
}

const facets = new Facets(limits, () => guarded(async () => {
  shown = new Set();
  at("similar-part").hidden = true;
  await Promise.all([shelf(), shelves(), search(false)]);
}));

async function search(append) {
  offset = append ? offset + PAGE : 0;
  const answer = await api("/search", {
    query: at("query").value, k: PAGE, offset, ...limits(), attributes: facets.filters(),
  });
  const cards = answer.items.map((item) => card(item, false, null));
  if (append) at("results").append(...cards);
  else at("results").replaceChildren(...cards);
  at("found").textContent = ngettext("{n} product", "{n} products", answer.total);
  at("more").hidden = offset + PAGE >= answer.total;
  if (!append) await facets.draw();
}

// --- the conversation ---

// labels: what is shown for each option, in another language than English.
function chips({ options, labels = options }) {
  return element("div", { class: "chips" }, ...options.map((option, place) =>
    element("button", { type: "button", onclick: () => ask(option, labels[place]) }, labels[place])));
}

function fill(where, answer) {
  where.append(...[
    answer.understood.length ? element("ul", { class: "tags", "aria-label": _("What I looked for") },
      ...answer.understood.map((part) => element("li", { class: answer.relaxed.includes(part) ? "gone" : null }, part))) : null,
    answer.items.length ? element("ul", { class: "items" },
      ...answer.items.map((item) => card(item, false, answer.impression_id))) : null,
    answer.options.length ? chips(answer) : null].filter(Boolean));
}

// label: what the log shows of the message.
async function ask(message, label = message) {
  if (!message.trim() || at("say").classList.contains("busy")) return;
  at("say").classList.add("busy");
  for (const past of at("log").children) if (past.matches(".answer")) past.classList.add("past");
  const text = element("p", { class: "waiting" });
  const answer = element("div", { class: "answer" }, text);
  at("log").append(element("p", { class: "said" }, label), answer);
  at("need").value = "";
  await guarded(async () => { await begin(); await stream("/conversation", { ...who(), message, state: talk, k: 4 }, (event, data) => {
    if (event === "proposals") fill(answer, data);
    if (event === "text") text.textContent += data.text;
    if (event === "done") talk = data.state;
    answer.scrollIntoView({ block: "nearest" });
  }); });
  text.classList.remove("waiting");
  if (!text.textContent) answer.remove();
  at("say").classList.remove("busy");
}

async function greet() {
  const answer = await api("/conversation", { message: "hello", k: 1 });
  at("log").replaceChildren(element("div", { class: "answer" }, chips(answer)));
}

at("say").addEventListener("submit", (event) => { event.preventDefault(); ask(at("need").value); });
at("search").addEventListener("submit", (event) => { event.preventDefault(); guarded(() => search(false)); });
at("more").addEventListener("click", () => guarded(() => search(true)));
at("who").addEventListener("submit", (event) => {
  event.preventDefault();
  const user = at("user").value.trim();
  if (user) sessionStorage.setItem("user", user);
  else sessionStorage.removeItem("user");
  shown = new Set();
  basket = [];
  looked = Boolean(user);
  talk = null;
  at("trail").replaceChildren();
  at("trail-empty").hidden = false;
  at("similar-part").hidden = true;
  guarded(async () => { await shelf(); await shelves(); });
  guarded(greet);
});
at("key").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("key", at("api-key").value);
  at("key").hidden = true;
  toast(_("The key is used from now on."));
  guarded(shelf);
});

at("user").value = sessionStorage.getItem("user") || "";
looked = Boolean(sessionStorage.getItem("user"));
guarded(async () => { await shelf(); await shelves(); });
guarded(greet);
guarded(() => search(false));
guarded(async () => {
  const { categories } = await api("/categories");
  at("category").append(...categories.map(({ name, items }) => element("option", { value: name }, `${name} (${items})`)));
});
