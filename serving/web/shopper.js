// The shopper's page: a shelf that changes with each click, search, and what goes with an item.
import { api, element, money, say } from "/web/common.js";

const at = (id) => document.getElementById(id);
const PAGE = 12;
let shown = new Set();
let impression = null;
let offset = 0;

function who() {
  const user = sessionStorage.getItem("user");
  if (user) return { user_id: user };
  let session = sessionStorage.getItem("session");
  if (!session) {
    session = Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16)).join("");
    sessionStorage.setItem("session", session);
  }
  return { session_id: session };
}

function card(item, isNew, fromShelf) {
  const act = (event) => () => send(item, event, fromShelf);
  return element("li", { class: isNew ? "new" : null, "data-item": item.item_id },
    element("span", { class: "title" }, item.title.toLowerCase() || item.item_id),
    element("span", { class: "meta" }, `${money(item.price, item.currency)} · ${item.categories.join(" › ") || "no category"}`),
    item.reason ? element("span", { class: "reason" }, item.reason) : null,
    element("span", { class: "row" },
      element("button", { type: "button", class: "look", onclick: act("click") }, "Look"),
      element("button", { type: "button", class: "buy", onclick: act("purchase") }, "Buy")));
}

async function guarded(work) {
  try {
    await work();
  } catch (error) {
    at("key").hidden = error.status !== 401;
    say(at("message"), error.message, true);
  }
}

async function shelf() {
  const answer = await api("/recommend", { ...who(), k: 8 });
  const before = shown;
  impression = answer.impression_id;
  shown = new Set(answer.items.map((item) => item.item_id));
  const changed = before.size ? answer.items.filter((item) => !before.has(item.item_id)).length : 0;
  at("shelf").replaceChildren(...answer.items.map((item) => card(item, before.size > 0 && !before.has(item.item_id), true)));
  const count = answer.history_length;
  at("shelf-note").textContent = (count ? `From ${count} things you did` : "Nothing is known of you yet: what is popular")
    + (changed ? `; ${changed} new on the shelf` : "") + `. Model ${answer.model_version}.`;
}

function send(item, event, fromShelf) {
  return guarded(async () => {
    await api("/feedback", {
      ...who(), item_id: item.item_id, event, price: item.price,
      impression_id: fromShelf ? impression : null,
      event_id: crypto.randomUUID ? crypto.randomUUID() : `${Date.now()}-${Math.random()}`,
    });
    const done = event === "purchase" ? "bought" : "looked at";
    at("trail").prepend(element("li", {}, `${done} ${item.title.toLowerCase() || item.item_id}`));
    at("trail-empty").hidden = true;
    say(at("message"), `You ${done} ${item.title.toLowerCase()}: kept.`);
    await Promise.all([shelf(), goesWith(item)]);
  });
}

async function goesWith(item) {
  const answer = await api("/similar", { item_ids: [item.item_id], k: 4 });
  at("similar-title").textContent = `Goes with ${item.title.toLowerCase()}`;
  at("similar").replaceChildren(...answer.items.map((other) => card(other, false, false)));
  at("similar-part").hidden = false;
}

async function search(append) {
  offset = append ? offset + PAGE : 0;
  const body = { query: at("query").value, k: PAGE, offset };
  if (at("category").value) body.category = at("category").value;
  if (at("max-price").value) body.max_price = Number(at("max-price").value);
  const answer = await api("/search", body);
  const cards = answer.items.map((item) => card(item, false, false));
  if (append) at("results").append(...cards);
  else at("results").replaceChildren(...cards);
  at("found").textContent = `${answer.total} products`;
  at("more").hidden = offset + PAGE >= answer.total;
}

at("search").addEventListener("submit", (event) => { event.preventDefault(); guarded(() => search(false)); });
at("more").addEventListener("click", () => guarded(() => search(true)));
at("who").addEventListener("submit", (event) => {
  event.preventDefault();
  const user = at("user").value.trim();
  if (user) sessionStorage.setItem("user", user);
  else sessionStorage.removeItem("user");
  shown = new Set();
  at("trail").replaceChildren();
  at("trail-empty").hidden = false;
  guarded(shelf);
});
at("key").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("key", at("api-key").value);
  at("key").hidden = true;
  say(at("message"), "The key is used from now on.");
});

at("user").value = sessionStorage.getItem("user") || "";
guarded(shelf);
guarded(() => search(false));
guarded(async () => {
  const { categories } = await api("/categories");
  at("category").append(...categories.map(({ name, items }) => element("option", { value: name }, `${name} (${items})`)));
});
