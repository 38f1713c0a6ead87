// Recommendations in a shop's own pages: shelves, and the events that shoppers cause. No dependency.
// docs/recipes/add-shelves-to-your-shop.md
(() => {
  const { currentScript: script, documentElement: page } = document;
  const endpoint = new URL("..", script.src).href; // also behind a path prefix
  const link = script.dataset.link || "";
  const KEPT = 100; // events that wait, clicks that are remembered, products left out
  const HOUR = 3600e3;
  let consented = script.dataset.consent === "granted";
  let given = null; // the token of a signed-in user, from the shop's server
  let asking = null;
  let sending = Promise.resolve();

  // localStorage may be forbidden, or full: then memory keeps what is of this page.
  const memory = {};
  function read(name, otherwise) {
    try { return memory[name] || JSON.parse(localStorage.getItem(`bowerbird.${name}`)) || otherwise; } catch { return otherwise; }
  }
  function write(name, value) {
    if (!consented) return;
    delete memory[name];
    try { localStorage.setItem(`bowerbird.${name}`, JSON.stringify(value)); } catch { memory[name] = value; }
  }
  function forget() {
    for (const name of ["session", "pending", "clicked"]) {
      delete memory[name];
      try { localStorage.removeItem(`bowerbird.${name}`); } catch { /* nothing is there */ }
    }
  }
  const warn = (error) => console.warn(`bowerbird: ${error.message}`);

  // keepalive: it is sent although the page goes away.
  async function ask(path, body, token, keepalive = false) {
    const headers = { "Content-Type": "application/json", ...(token && { "X-Session-Token": token }), ...(page.lang && { "Accept-Language": page.lang }) };
    const answer = await fetch(endpoint + path, {
      method: "POST", body: JSON.stringify(body), headers, keepalive, credentials: "omit", referrerPolicy: "no-referrer", signal: AbortSignal.timeout(30e3),
    });
    if (answer.ok) return answer.json();
    throw Object.assign(new Error(`${path}: ${answer.status}`), { status: answer.status });
  }

  async function token(renew = false) {
    if (!consented || given) return consented ? given : null;
    const known = read("session", {});
    if (!renew && known.expires_at > Date.now() / 1000 + 60) return known.token;
    asking = asking || ask("session", {}).finally(() => { asking = null; });
    const made = await asking;
    write("session", made);
    return consented ? made.token : null; // withdrawn in between
  }

  async function list(kind, body) {
    if (kind !== "recommend") return ask(kind, body);
    try {
      const answer = await ask(kind, body, await token());
      if (answer.identified || !consented || given) return answer;
      return await ask(kind, body, await token(true));
    } catch (error) {
      if (!error.status) throw error;
      return ask(kind, body); // popular products
    }
  }

  const isWeb = (url) => { try { return /^https?:$/.test(new URL(url, document.baseURI).protocol); } catch { return false; } };
  const linkOf = (item) => [item.url, link.replace("{item_id}", encodeURIComponent(item.item_id))].find((url) => url && isWeb(url));

  function part(tag, name, text) {
    const made = document.createElement(tag);
    made.className = `bowerbird-${name}`;
    if (text) made.textContent = text; // text is never markup
    return made;
  }

  function priceOf({ price, currency }) {
    if (price === null) return "";
    try { return new Intl.NumberFormat(page.lang || navigator.language, { style: "currency", currency }).format(price); } catch { return `${price} ${currency || ""}`; }
  }

  function card(item) {
    const href = linkOf(item);
    const made = part(href ? "a" : "span", "link");
    if (href) made.href = href;
    if (item.image && isWeb(item.image)) made.append(Object.assign(part("img", "image"), { src: item.image, alt: "", loading: "lazy" }));
    made.append(part("span", "title", item.title || item.item_id), part("span", "price", priceOf(item)));
    if (item.reason) made.append(part("span", "reason", item.reason));
    return made;
  }

  async function draw(place, options) {
    const { kind = "recommend", render = card, shown, ...body } = options;
    if (kind === "recommend") { // without what others show
      const others = [...shelves.values()].flatMap((one) => one.shown);
      body.exclude = [...body.exclude || [], ...others].slice(0, KEPT);
    }
    const { items, impression_id, title } = await list(kind, body);
    if (shelves.get(place) !== options) return;
    options.shown = items.map((item) => item.item_id);
    const shelf = part("ul", "items");
    for (const item of items) {
      const row = part("li", "item");
      row.append(render(item));
      // A middle click opens another tab, and is a click too.
      row.onclick = row.onauxclick = ({ button }) => { if (button < 2) send({ item_id: item.item_id, event: "click", impression_id }); };
      shelf.append(row);
    }
    const old = place.querySelector(":scope > .bowerbird-items");
    if (old) old.replaceWith(shelf); else place.append(shelf);
    place.hidden = !items.length;
    const heading = title && place.querySelector("[data-title]");
    if (heading) heading.textContent = title;
    place.dispatchEvent(new CustomEvent("bowerbird:shown", { detail: { items, title }, bubbles: true }));
  }

  const shelves = new Map(); // place → its options, ids shown
  let drawn = Promise.resolve(); // one shelf after another

  // A list counts as shown once it is requested: so it is when its place is seen.
  const sight = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) if (isIntersecting) {
      sight.unobserve(target);
      const options = shelves.get(target);
      drawn = drawn.then(() => shelves.get(target) === options && draw(target, options)).catch(warn);
    }
  });

  // options: kind, render(item) → Node, fields of the request
  function shelf(place, options = {}) {
    shelves.set(place, { ...options, shown: [] });
    place.hidden = false; // a hidden place is never seen
    sight.unobserve(place);
    sight.observe(place);
  }

  function scan() {
    for (const place of shelves.keys()) if (!place.isConnected) shelves.delete(place);
    for (const place of document.querySelectorAll("[data-bowerbird]")) if (!shelves.has(place)) {
      const { bowerbird: kind, k, items, category, page, surface } = place.dataset;
      const ids = items && items.split(" ");
      shelf(place, {
        kind: kind || "recommend", ...(k && { k: Number(k) }), ...(category && { category }), ...(surface && { surface }),
        ...(ids && (kind === "similar" ? { item_ids: ids } : { page: page || "product", page_items: ids })),
      });
    }
  }

  // Keep an event until the endpoint has it.
  function send(event) {
    if (!consented) return;
    const now = Date.now();
    const { [event.item_id]: last, ...others } = read("clicked", {});
    if (event.event === "click") { // of its own list, if it has one
      if (event.impression_id) others[event.item_id] = [event.impression_id, now];
      write("clicked", Object.fromEntries(Object.entries(others).slice(-KEPT)));
    } else if (last && now - last[1] < 24 * HOUR) {
      event.impression_id = event.impression_id || last[0];
    }
    const event_id = crypto.getRandomValues(new Uint32Array(4)).join("-");
    write("pending", [...read("pending", []), { ...event, event_id, timestamp: new Date().toISOString() }].slice(-KEPT));
    flush();
  }

  // Replace a waiting event by others: by none when it is done.
  const settle = ({ event_id }, ...others) => write("pending", read("pending", []).flatMap((one) => (one.event_id === event_id ? others : [one])));

  // An event stays that of its first session: so it counts once, also if the answer was lost.
  async function deliver(renewed = false) {
    for (const kept of read("pending", [])) {
      if (!consented) return;
      // The endpoint takes events of 24 hours.
      if (Date.now() - Date.parse(kept.timestamp) > 23 * HOUR) { settle(kept); continue; }
      const sent = kept.token ? kept : { ...kept, token: await token() };
      settle(kept, sent);
      const { token: sender, ...event } = sent;
      try {
        await ask("feedback", event, sender, true);
        settle(sent);
      } catch (error) {
        if (!error.status || error.status === 429 || error.status >= 500) return; // later
        if (error.status === 401 && sent !== kept && !given && !renewed) { // an unknown session
          await token(true);
          settle(sent, kept);
          return deliver(true);
        }
        if (error.status !== 401 && event.impression_id) { // the list of another session
          delete sent.impression_id;
          settle(sent, sent);
          return deliver(renewed);
        }
        settle(sent); // it would be refused again
        warn(error);
      }
    }
  }

  const flush = () => { sending = sending.then(() => deliver()).catch(warn); };

  const redraw = () => shelves.forEach((options, place) => shelf(place, options));

  // Without consent nothing is stored or sent, and shelves show what is popular.
  function consent(granted) {
    const changed = granted !== consented;
    consented = granted;
    if (!granted) forget(); // also what an earlier page kept
    if (!changed) return;
    if (granted) flush();
    redraw();
  }

  // The visitor's session id, for POST /session of the shop's server; null without one.
  const session = async () => ((await token()) && !given ? read("session", {}).session_id : null);

  // token: of POST /session, which the shop's server requests.
  function signIn(token) {
    given = token;
    redraw();
  }

  const event = (name) => (item_id, more = {}) => (item_id == null
    ? warn({ message: `${name}(${item_id})` }) : send({ ...more, item_id: String(item_id), event: name }));
  window.bowerbird = { shelf, scan, consent, session, signIn, view: event("view"), cart: event("cart"), purchase: event("purchase") };
  // After the page's own deferred scripts, which know of the consent.
  for (const name of ["DOMContentLoaded", "load"]) window.addEventListener(name, scan);
  if (document.readyState === "complete") scan();
  flush();
})();
