// Recommendations in a shop's own pages: shelves, and the events that shoppers cause. No dependency.
// docs/recipes/add-shelves-to-your-shop.md shows how it is used.
(() => {
  const script = document.currentScript;
  const endpoint = new URL("..", script.src).href; // also behind a path prefix
  const KEPT = 100; // events that wait, and clicks whose list is remembered
  const LONGEST_WAIT = 23 * 3600e3; // the endpoint takes events of 24 hours
  const links = script.dataset.link || "";
  let consented = script.dataset.consent === "granted";
  let given = null; // the token of a signed-in user, from the shop's server
  let sending = null;

  // localStorage may be forbidden, or full.
  function read(name, otherwise) {
    try { return JSON.parse(localStorage.getItem(`bowerbird.${name}`)) || otherwise; } catch { return otherwise; }
  }
  function write(name, value) {
    try { localStorage.setItem(`bowerbird.${name}`, JSON.stringify(value)); } catch { /* of this page only */ }
  }
  function forget() {
    try { for (const name of ["session", "pending", "clicked"]) localStorage.removeItem(`bowerbird.${name}`); } catch { /* nothing is there */ }
  }

  // keepalive: the browser sends the request although the page goes away.
  async function ask(path, body, token, keepalive = false) {
    const headers = { "Content-Type": "application/json" };
    if (token) headers["X-Session-Token"] = token;
    if (document.documentElement.lang) headers["Accept-Language"] = document.documentElement.lang;
    const answer = await fetch(endpoint + path, {
      method: "POST", body: JSON.stringify(body), headers, keepalive, credentials: "omit", referrerPolicy: "no-referrer",
    });
    if (answer.ok) return answer.json();
    throw Object.assign(new Error(`${path}: ${answer.status}`), { status: answer.status });
  }

  let asking = null;
  async function token(renew = false) {
    if (!consented) return null;
    if (given) return given;
    const known = read("session", {});
    if (!renew && known.expires_at > Date.now() / 1000 + 60) return known.token;
    asking = asking || ask("session", {}).finally(() => { asking = null; });
    const { token: made, expires_at } = await asking;
    if (!consented) return null; // it was withdrawn in between
    write("session", { token: made, expires_at });
    return made;
  }

  // --- shelves ---

  async function list(kind, body) {
    if (kind !== "recommend") return ask(kind, body);
    try {
      const answer = await ask(kind, body, await token());
      if (answer.identified || !consented || given) return answer;
      return await ask(kind, body, await token(true));
    } catch (error) {
      if (!error.status) throw error;
      return ask(kind, body); // what is popular, where there is no session
    }
  }

  const isWeb = (url) => { try { return /^https?:$/.test(new URL(url, document.baseURI).protocol); } catch { return false; } };
  const linkOf = (item) => [item.url, links.replace("{item_id}", encodeURIComponent(item.item_id))].find((url) => url && isWeb(url));

  function part(tag, name, text) {
    const made = document.createElement(tag);
    made.className = `bowerbird-${name}`;
    if (text) made.textContent = text; // text from outside never becomes markup
    return made;
  }

  function priceOf({ price, currency }) {
    if (price === null) return "";
    const language = document.documentElement.lang || navigator.language;
    try { return new Intl.NumberFormat(language, { style: "currency", currency }).format(price); } catch { return `${price} ${currency || ""}`; }
  }

  function card(item) {
    const link = linkOf(item);
    const made = part(link ? "a" : "span", "link");
    if (link) made.href = link;
    if (item.image && isWeb(item.image)) made.append(Object.assign(part("img", "image"), { src: item.image, alt: "", loading: "lazy" }));
    made.append(part("span", "title", item.title || item.item_id), part("span", "price", priceOf(item)));
    if (item.reason) made.append(part("span", "reason", item.reason));
    return made;
  }

  const drawing = new Map(); // place → its newest request: an older answer may come later

  async function draw(place, { kind = "recommend", render = card, ...body }) {
    const request = list(kind, body);
    drawing.set(place, request);
    const { items, impression_id } = await request;
    if (drawing.get(place) !== request) return;
    const rows = items.map((item) => {
      const row = part("li", "item");
      row.append(render(item));
      // A middle click opens another tab, and is a click too.
      for (const name of ["click", "auxclick"]) {
        row.addEventListener(name, (event) => { if (event.button < 2) send({ item_id: item.item_id, event: "click", impression_id }); });
      }
      return row;
    });
    const shelf = part("ul", "items");
    shelf.append(...rows);
    const old = place.querySelector(":scope > .bowerbird-items");
    if (old) old.replaceWith(shelf); else place.append(shelf);
    place.hidden = !items.length;
    place.dispatchEvent(new CustomEvent("bowerbird:shown", { detail: { items }, bubbles: true }));
  }

  const shelves = new Map(); // place → its options

  // A list counts as shown from the moment it is requested: so it is when its place is seen.
  const sight = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) if (isIntersecting) {
      sight.unobserve(target);
      draw(target, shelves.get(target)).catch((error) => console.warn(`bowerbird: ${error.message}`));
    }
  });

  // Draw a shelf as soon as its place is seen. place: an element. options: kind ("recommend",
  // "similar" or "search"), render(item) → Node, and fields of the request, such as k, item_ids or category.
  function shelf(place, options = {}) {
    shelves.set(place, options);
    sight.unobserve(place);
    sight.observe(place);
  }

  function scan() {
    for (const place of document.querySelectorAll("[data-bowerbird]")) if (!shelves.has(place)) {
      const { bowerbird: kind, k, items, page, category } = place.dataset;
      const options = { kind: kind || "recommend" };
      if (k) options.k = Number(k);
      if (items && kind === "similar") options.item_ids = items.split(" ");
      else if (items) Object.assign(options, { page: page || "product", page_items: items.split(" ") });
      if (category) options.category = category;
      shelf(place, options);
    }
  }

  // --- events ---

  // Keep an event until the endpoint has it, on this page or a later one.
  function send(event) {
    if (!consented) return;
    const clicked = read("clicked", {});
    if (event.event === "click" && event.impression_id) {
      delete clicked[event.item_id];
      clicked[event.item_id] = event.impression_id;
      write("clicked", Object.fromEntries(Object.entries(clicked).slice(-KEPT)));
    } else if (!event.impression_id && clicked[event.item_id]) {
      event.impression_id = clicked[event.item_id];
    }
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    const event_id = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
    write("pending", [...read("pending", []), { ...event, event_id, timestamp: new Date().toISOString() }].slice(-KEPT));
    flush();
  }

  const isDone = ({ event_id }) => write("pending", read("pending", []).filter((other) => other.event_id !== event_id));

  // The list of another session, such as that before the sign-in, is not this shopper's.
  async function resend({ impression_id, ...event }) {
    write("pending", [event, ...read("pending", [])]);
    return deliver();
  }

  async function deliver() {
    for (const event of read("pending", [])) {
      if (!consented) return;
      if (Date.now() - Date.parse(event.timestamp) > LONGEST_WAIT) { isDone(event); continue; }
      try {
        await ask("feedback", event, await token(), true);
        isDone(event);
      } catch (error) {
        if (error.status === 401) { await token(true); return; }
        if (!error.status || error.status === 429 || error.status >= 500) return; // later
        isDone(event); // it would be refused again
        if (event.impression_id) return resend(event);
        console.warn(`bowerbird: ${error.message}`);
      }
    }
  }

  function flush() {
    sending = (sending || Promise.resolve()).then(deliver).catch((error) => console.warn(`bowerbird: ${error.message}`));
    return sending;
  }

  // --- consent and sign-in ---

  function redraw() {
    for (const [place, options] of shelves) shelf(place, options);
  }

  // Without consent nothing is stored and no event sent, and shelves show what is popular.
  function consent(granted) {
    if (granted === consented) return;
    consented = granted;
    if (granted) flush(); else forget();
    redraw();
  }

  // token: of POST /session with a user_id, which the shop's server requests with its key.
  function signIn(token) {
    given = token;
    redraw();
  }

  const event = (name) => (item_id, more = {}) => send({ ...more, item_id: String(item_id), event: name });
  window.bowerbird = { shelf, scan, consent, signIn, view: event("view"), cart: event("cart"), purchase: event("purchase") };
  // After the page's own deferred scripts, which know of the consent.
  for (const name of ["DOMContentLoaded", "load"]) window.addEventListener(name, scan);
  if (document.readyState === "complete") scan();
  flush();
})();
