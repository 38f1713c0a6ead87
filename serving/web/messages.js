// The texts of the pages in their language: gettext and ngettext over the catalogue, and formats.
export const language = document.documentElement.lang;

// The browser's own locale where it has the page's language: it says the region too.
const primary = (tag) => tag.split("-")[0].toLowerCase();
export const locale = navigator.languages.find((one) => primary(one) === primary(language)) || language;

const isEnglish = primary(language) === "en"; // the language of the texts in the code
const plural = new Intl.PluralRules(language);
// Without the catalogue the page works, in English.
const translations = await fetch(`./web/messages/${language}.json`).then((answer) => answer.json()).catch(() => ({}));

const known = (text) => (Object.hasOwn(translations, text) ? translations[text] : null);
const filled = (text, values) => text.replace(/\{(\w+)\}/g, (whole, name) => (Object.hasOwn(values, name) ? String(values[name]) : whole));

export const N_ = (text) => text; // a text that is translated where it is shown

export function _(text, values = {}) {
  const found = known(text);
  return filled(typeof found === "string" ? found : text, values);
}

export function ngettext(one, many, n, values = {}) {
  const forms = known(one);
  const english = n === 1 ? one : many;
  return filled(forms ? forms[plural.select(n)] ?? forms.other ?? english : english, { n, ...values });
}

// Names keep their spelling, but many shops write all of a title in capitals: a page of them shouts.
const isShouted = (text) => text.includes(" ") && text === text.toUpperCase() && text !== text.toLowerCase();
export const titled = (text) => (isShouted(text) ? text.charAt(0) + text.slice(1).toLowerCase() : text);

// In a sentence, only several words in capitals are such a title: an iPhone or a LEGO keeps its letters.
// The code of a currency has a no-break space between itself and its amount.
const SHOUTED = /(?<![\p{L}\p{N}])[\p{Lu}\p{N}'’&.,/+-]+(?: [\p{Lu}\p{N}'’&.,/+-]+)+(?![\p{L}\p{N}])/gu;
export const calm = (text) => text.replace(SHOUTED, (title) => title.toLowerCase());

const SYMBOLS = ["GBP", "EUR", "USD"]; // known by their symbols: "£", where a locale would write "£GB"
export function money(price, currency) {
  if (price === null) return _("no price");
  const currencyDisplay = !isEnglish && SYMBOLS.includes(currency) ? "narrowSymbol" : "symbol";
  try {
    return new Intl.NumberFormat(locale, { style: "currency", currency, currencyDisplay }).format(price);
  } catch {
    return `${price} ${currency}`;
  }
}

export const number = (value, options) => Number(value).toLocaleString(locale, options);
export const moment = (text) => new Date(text).toLocaleString(locale);
export const clock = (date) => date.toLocaleTimeString(locale, { hour: "2-digit", minute: "2-digit", hour12: false });

// A day as ISO 8601 in English, where its order would be doubtful; else as the language writes it.
export function day(text) {
  const iso = text.slice(0, 10);
  return isEnglish ? iso : new Date(iso).toLocaleDateString(locale, { dateStyle: "medium", timeZone: "UTC" });
}

export function percent(share, digits = 1) {
  if (isEnglish) return `${(100 * share).toFixed(digits)} %`;
  return number(share, { style: "percent", minimumFractionDigits: digits, maximumFractionDigits: digits });
}

export function short(value) {
  if (value >= 10000) return _("{n}k", { n: Math.round(value / 1000) });
  return number(Math.round(value * 100) / 100, { useGrouping: false });
}
