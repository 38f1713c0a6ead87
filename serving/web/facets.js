// Facets of the shopper's page: the shop's attributes of products, with counts, as filters.
import { api, element } from "/web/common.js";

const at = (id) => document.getElementById(id);
const FIRST = 6; // values of a facet before "show all"
const FACTS = 4; // attributes on a tile

const spoken = (name) => name.replaceAll("_", " ");
const day = (text) => text.slice(0, 10);
// A number as the shopper writes it, a date as its day; other values as they are.
const readable = (value) => (typeof value === "number" ? value.toLocaleString(undefined, { maximumFractionDigits: 4 })
  : Array.isArray(value) ? value.join(", ") : /^\d{4}-\d\d-\d\dT/.test(value) ? day(value) : value);
const same = (one, other) => one.toLowerCase() === other.toLowerCase();

// The attributes of a product, for its tile; null where it has none.
export function facts(item) {
  const known = Object.entries(item.attributes || {}).slice(0, FACTS);
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
    if (answer.left_out) at("facets").append(element("p", { class: "note" }, `${answer.left_out} further attributes are not shown`));
    at("facets-count").textContent = this.chosen.size ? `${this.chips().length} chosen` : "";
    at("facets-note").textContent = `${answer.total.toLocaleString()} ${answer.total === 1 ? "product" : "products"}`;
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
      element("span", { class: "count" }, items.toLocaleString(),
        element("span", { class: "hush" }, items === 1 ? " product" : " products"))));
    if (values.length > FIRST) {
      rows.push(element("button", {
        type: "button", class: "more", "data-key": `${name}:more`, "aria-expanded": String(all),
        "aria-label": `${all ? "Fewer" : "All"} values of ${spoken(name)}`, onclick: () => this.unfold(name),
      }, all ? "Show fewer" : `Show all ${values.length}`));
    }
    if (leftOut && (all || values.length <= FIRST)) rows.push(element("p", { class: "note" }, `${leftOut.toLocaleString()} rarer values are not shown`));
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
      element("p", { class: "note" }, `${readable(min)} to ${readable(max)}`),
      element("div", { class: isDate ? "bounds date" : "bounds" }, bound("min", "from", min), bound("max", "to", max)),
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
      const text = min === undefined ? `up to ${readable(max)}` : max === undefined ? `from ${readable(min)}`
        : `${readable(min)} to ${readable(max)}`;
      return [[`${spoken(name)}: ${text}`, name, {}]];
    });
  }

  drawChosen() {
    const buttons = this.chips().map(([text, name, rest]) => element("button", {
      type: "button", "data-key": `chip ${text}`, "aria-label": `Remove the filter ${text}`,
      onclick: () => this.choose(name, rest),
    }, `${text} ×`));
    if (buttons.length) {
      buttons.push(element("button", {
        type: "button", class: "clear", "data-key": "clear", onclick: () => { this.chosen.clear(); this.changed(); },
      }, "Clear all"));
    }
    at("chosen").replaceChildren(...buttons);
    at("chosen").hidden = buttons.length === 0;
  }
}
