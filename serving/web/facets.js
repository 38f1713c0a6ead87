// Facets of the shopper's page: the shop's attributes of products, with counts, as filters.
import { api, element } from "./common.js";
import { _, day, ngettext, number } from "./messages.js";

const at = (id) => document.getElementById(id);
const FIRST = 6; // values of a facet before "show all"
const FACTS = 4; // attributes on a tile
const LONGEST = 60; // characters of one; longer ones are descriptions

const spoken = (name) => name.replaceAll("_", " ");
// A number as the shopper writes it, a date as its day; other values as they are.
const readable = (value) => (typeof value === "number" ? number(value, { maximumFractionDigits: 4 })
  : Array.isArray(value) ? value.join(", ") : /^\d{4}-\d\d-\d\d(T|$)/.test(value) ? day(value) : value);
// A number of products: the number is seen, the words around it are heard.
function counted(items) {
  const around = ngettext("{n} product", "{n} products", items, { n: "\n" }).split("\n");
  const [before, after] = around.map((words) => (words ? element("span", { class: "hush" }, words) : null));
  return [before, number(items), after];
}
const same = (one, other) => one.toLowerCase() === other.toLowerCase();

// The attributes of a product, for its tile; null where it has none.
export function facts(item) {
  const isShort = ([, value]) => typeof value !== "string" || value.length <= LONGEST;
  const known = Object.entries(item.attributes || {}).filter(isShort).slice(0, FACTS);
  return known.length ? element("span", { class: "facts" },
    ...known.map(([name, value]) => element("span", {}, `${spoken(name)}: ${readable(value)}`))) : null;
}

export class Facets {
  // limits() → the other filters of the products that are counted. changed() runs after a choice.
  constructor(limits, changed) {
    this.limits = limits;
    this.changed = changed;
    this.chosen = new Map(); // name → list of values, or {min, max}
    this.unfolded = new Set(); // names of the facets that show all their values
    this.asked = 0;
    at("facets-fold").open = matchMedia("(min-width: 60rem)").matches;
  }

  // The filters as the API takes them.
  filters() {
    return Object.fromEntries(this.chosen);
  }

  // Count again and draw; an answer that a later one has overtaken is dropped.
  async draw() {
    const asked = ++this.asked;
    const answer = await api("/facets", { ...this.limits(), attributes: this.filters() });
    if (asked !== this.asked) return;
    const focused = document.activeElement && document.activeElement.dataset.key;
    at("facets-part").hidden = answer.facets.length === 0 && this.chosen.size === 0;
    at("facets").replaceChildren(...answer.facets.map((facet) => this.facet(facet)));
    if (answer.left_out) at("facets").append(element("p", { class: "note" }, ngettext("{n} further attribute is not shown", "{n} further attributes are not shown", answer.left_out)));
    at("facets-count").textContent = this.chosen.size ? ngettext("{n} chosen", "{n} chosen", this.chips().length) : "";
    at("facets-note").textContent = ngettext("{n} product", "{n} products", answer.total, { n: number(answer.total) });
    this.drawChosen();
    if (focused) {
      const again = [...at("browse").querySelectorAll("[data-key]")].find((one) => one.dataset.key === focused);
      (again || at("facets-fold").firstElementChild).focus({ preventScroll: true });
    }
  }

  facet(facet) {
    const body = facet.values ? this.values(facet) : this.range(facet);
    return element("fieldset", { "data-facet": facet.name }, element("legend", {}, spoken(facet.name)), ...body);
  }

  values({ name, values, left_out: leftOut }) {
    const chosen = this.chosen.get(name) || [];
    const isChosen = (value) => chosen.some((one) => same(one, value));
    const all = this.unfolded.has(name);
    const shown = values.filter(({ value }, place) => all || place < FIRST || isChosen(value));
    const rows = shown.map(({ value, items }) => element("label", { class: "value" },
      element("input", {
        type: "checkbox", checked: isChosen(value) ? "" : null, "data-key": `${name}=${value}`,
        onclick: () => this.choose(name, isChosen(value) ? chosen.filter((one) => !same(one, value)) : [...chosen, value]),
      }),
      element("span", { class: "name" }, value),
      element("span", { class: "count" }, ...counted(items))));
    if (values.length > FIRST) {
      rows.push(element("button", {
        type: "button", class: "more", "data-key": `${name}:more`, "aria-expanded": String(all),
        "aria-label": all ? _("Fewer values of {name}", { name: spoken(name) }) : _("All values of {name}", { name: spoken(name) }), onclick: () => this.unfold(name),
      }, all ? _("Show fewer") : _("Show all {n}", { n: values.length })));
    }
    if (leftOut && (all || values.length <= FIRST)) rows.push(element("p", { class: "note" }, ngettext("{n} rarer value is not shown", "{n} rarer values are not shown", leftOut, { n: number(leftOut) })));
    return rows;
  }

  range({ name, type, min, max }) {
    const chosen = this.chosen.get(name) || {};
    const isDate = type === "date";
    const bound = (side, label, limit) => {
      const input = element("input", {
        type: isDate ? "date" : "number", step: isDate ? null : "any", inputmode: isDate ? null : "decimal",
        value: chosen[side], placeholder: isDate ? null : readable(limit), "data-key": `${name}:${side}`,
        "aria-label": `${spoken(name)} ${label}`,
      });
      input.addEventListener("change", () => {
        const next = { ...this.chosen.get(name) };
        if (input.value === "") delete next[side];
        else next[side] = isDate ? input.value : Number(input.value);
        this.choose(name, next);
      });
      return element("label", {}, label, input);
    };
    return [
      element("p", { class: "note" }, _("{low} to {high}", { low: readable(min), high: readable(max) })),
      element("div", { class: isDate ? "bounds date" : "bounds" }, bound("min", _("from"), min), bound("max", _("to"), max)),
    ];
  }

  unfold(name) {
    if (!this.unfolded.delete(name)) this.unfolded.add(name);
    return this.draw();
  }

  choose(name, choice) {
    if (Object.keys(choice).length) this.chosen.set(name, choice);
    else this.chosen.delete(name);
    return this.changed();
  }

  // [text, name, the choice without it] of each chosen value and range.
  chips() {
    return [...this.chosen].flatMap(([name, choice]) => {
      if (Array.isArray(choice)) {
        return choice.map((value) => [`${spoken(name)}: ${value}`, name, choice.filter((one) => one !== value)]);
      }
      const { min, max } = choice;
      const text = min === undefined ? _("up to {amount}", { amount: readable(max) })
        : max === undefined ? _("from {amount}", { amount: readable(min) })
        : _("{low} to {high}", { low: readable(min), high: readable(max) });
      return [[`${spoken(name)}: ${text}`, name, {}]];
    });
  }

  drawChosen() {
    const buttons = this.chips().map(([text, name, rest]) => element("button", {
      type: "button", "data-key": `chip ${text}`, "aria-label": _("Remove the filter {text}", { text }),
      onclick: () => this.choose(name, rest),
    }, `${text} ×`));
    if (buttons.length) {
      buttons.push(element("button", {
        type: "button", class: "clear", "data-key": "clear", onclick: () => { this.chosen.clear(); this.changed(); },
      }, _("Clear all")));
    }
    at("chosen").replaceChildren(...buttons);
    at("chosen").hidden = buttons.length === 0;
  }
}
